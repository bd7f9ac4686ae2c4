// SPDX-License-Identifier: Apache-2.0
import { createRoot } from 'react-dom/client';
import '../../../renderer/lib/tokens.css';
import '../../../renderer/lib/base.css';
import './page.css';
import { LabMap } from '../../../renderer/features/map/LabMap.tsx';
import '../../../renderer/commands/table.ts';
import { keepConnected, useCore } from '../../../renderer/store/core.ts';
import { gauges } from '../../../renderer/store/gauges.ts';
import { applyTheme } from '../../../renderer/store/theme.ts';
import { useTables } from '../../../renderer/store/tables.ts';
import { useUi } from '../../../renderer/store/ui.ts';
import { TapyardError } from '../../../electron/contract/error.ts';
import { FakeCore } from '../fake-core.ts';
import { sampleActs } from '../acts.ts';
import { labByName } from './choose.ts';
import { troubles } from './trouble.ts';

// index.html?lab=mock|seed|down|states|modes|long|forty|huge|empty|nothing & theme=dark|light & select=guest:seed/web & gauges=all
// & window for the whole window instead of the map alone
// & quiet & natMs=600 & failing=network.setNat & trouble=crashed|gone|pasta|file|job|failed
// & acts=40 (the log, with so many ordinary acts before)
// & consoles (the first guest's, serial beside screen)
const query = new URLSearchParams(location.search);
const { rows, up } = labByName(query.get('lab') ?? 'mock');
const refused = new TapyardError('KERNEL', 'The kernel refused it: Operation not permitted.', {
  hint: 'See the log.',
});
const core = new FakeCore(
  rows,
  {
    natMs: Number(query.get('natMs') ?? 30),
    ...(query.get('quiet') === null ? {} : { rate: { down: 0, up: 0 } }),
    failing: Object.fromEntries(query.getAll('failing').map((leaf) => [leaf, refused])),
  },
  up,
);
if (query.get('acts') !== null) core.acts.change(sampleActs(Number(query.get('acts'))));
const moreActs = () => sampleActs(Number(query.get('acts')) + 1).slice(-1);
Object.assign(globalThis, { fakeCore: core, moreActs });

useUi.setState({ theme: query.get('theme') === 'light' ? 'light' : 'dark' });
applyTheme();
const [kind, id] = (query.get('select') ?? '').split(/:(.*)/s);
if (
  id &&
  (kind === 'guest' || kind === 'network' || kind === 'nat' || kind === 'link' || kind === 'uplink')
) {
  useUi.getState().select({ kind, id });
}
if (query.get('consoles') !== null) {
  const [guest] = rows.guests;
  if (guest) useUi.getState().openConsole({ guest: guest.id, kind: 'serial' });
  useUi.setState({ split: true });
}
const trouble = troubles[query.get('trouble') ?? ''];
// After the first picture: most of what goes wrong does so while somebody looks.
if (trouble) setTimeout(() => trouble(core), 500);
if (query.get('gauges') === 'all') for (const gauge of Object.values(gauges)) gauge.listenAll(() => {});

function Page() {
  const ready = useCore((state) => state.status === 'ready');
  const lab = useTables((tables) => [...tables.labs.keys()][0]);
  return ready && lab !== undefined ? <LabMap lab={lab} /> : null;
}

const root = document.getElementById('root');
if (root && query.get('window') !== null) {
  const { mount } = await import('../../../renderer/app/mount.tsx');
  mount(root, () => core.connect());
} else if (root) {
  createRoot(root).render(<Page />);
  void keepConnected(() => core.connect());
}
