// SPDX-License-Identifier: Apache-2.0
// @vitest-environment happy-dom
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Client, TableChange } from '../../../electron/contract/client.ts';
import { gauges, setGaugeClient } from '../../../renderer/store/gauges.ts';
import { Kept, readKept, writeKept } from '../../../renderer/store/kept.ts';
import { currentLabId, ofLab } from '../../../renderer/store/select.ts';
import { sameSubject, subjectKey } from '../../../renderer/store/subject.ts';
import { applyChange, followTables, useTables, type Row } from '../../../renderer/store/tables.ts';
import { useUi } from '../../../renderer/store/ui.ts';
import { FakeCore } from '../../fakes/fake-core.ts';
import { labByName } from '../../fakes/page/choose.ts';
import { byId, guest, lab } from './rows.ts';

async function fakeClient(): Promise<Client> {
  const { rows, up } = labByName('seed');
  return (await new FakeCore(rows, {}, up).connect()).client;
}

describe('tables', () => {
  it('apply a full change, then whole rows put and deleted, and leave the old map alone', () => {
    const first = applyChange<Row<'guests'>>(new Map(), {
      full: [guest(), guest({ id: 'seed/db', name: 'db' })],
    });
    const next = applyChange(first, { put: [guest({ state: 'paused' })], del: ['seed/db'] });
    expect([...first.keys()]).toEqual(['seed/web', 'seed/db']);
    expect([...next.values()].map((row) => row.state)).toEqual(['paused']);
  });

  it('put many changes in by one setState', async () => {
    const client = await fakeClient();
    let tell: (change: TableChange<Row<'guests'>>) => void = () => {};
    const tables = {
      ...client.tables,
      guests: (listener: typeof tell) => {
        tell = listener;
        return { close() {} };
      },
    };
    const first = vi.fn<() => void>();
    const following = followTables({ ...client, tables }, first);
    await vi.waitFor(() => expect(useTables.getState().labs.size).toBe(1));
    expect(first).not.toHaveBeenCalled();
    let sets = 0;
    const stop = useTables.subscribe(() => sets++);
    tell({ full: [] });
    for (let number = 0; number < 1300; number++)
      tell({ put: [guest({ id: `seed/g${number}`, name: `g${number}` })], del: [] });
    await vi.waitFor(() => expect(useTables.getState().guests.size).toBe(1300));
    expect(sets).toBe(1);
    expect(first).toHaveBeenCalledOnce();
    stop();
    following.close();
  });

  it('know the rows of a lab and which lab is in view', () => {
    const other = guest({ id: 'b/x', lab: 'b', name: 'x' });
    expect(ofLab<'guests'>(byId(guest(), other), 'b')).toEqual([other]);
    const labs = byId(lab(), lab({ id: 'alpha', name: 'alpha' }));
    expect(currentLabId(labs, 'seed')).toBe('seed');
    expect(currentLabId(labs, 'gone')).toBe('alpha');
    expect(currentLabId(new Map(), 'seed')).toBe(null);
  });
});

describe('gauges', () => {
  afterEach(() => setGaugeClient(null));

  it('ask the core only while somebody listens and the window is visible', async () => {
    const client = await fakeClient();
    let open = 0;
    let tell: (values: ReadonlyMap<string, number>) => void = () => {};
    const watched: Client = {
      ...client,
      gauges: {
        ...client.gauges,
        cpu: (listener) => {
          open++;
          tell = listener;
          return { close: () => void open-- };
        },
      },
    };
    setGaugeClient(watched);
    expect(open).toBe(0);
    const seen: number[] = [];
    const stopA = gauges.cpu.listen('seed/web', (value) => seen.push(value));
    const stopB = gauges.cpu.listen('seed/db', () => {});
    expect(open).toBe(1);
    tell(new Map([['seed/web', 7]]));
    expect(seen).toEqual([7]);
    expect(gauges.cpu.latest('seed/web')).toBe(7);

    const visible = vi.spyOn(document, 'visibilityState', 'get').mockReturnValue('hidden');
    document.dispatchEvent(new Event('visibilitychange'));
    expect(open).toBe(0);
    expect(gauges.cpu.latest('seed/web')).toBeUndefined();
    visible.mockReturnValue('visible');
    document.dispatchEvent(new Event('visibilitychange'));
    expect(open).toBe(1);
    visible.mockRestore();

    stopA();
    expect(open).toBe(1);
    stopB();
    stopB();
    expect(open).toBe(0);
  });
});

describe('what the window keeps', () => {
  afterEach(() => localStorage.clear());

  it('comes back', () => {
    writeKept({ ...Kept.parse({}), theme: 'light', dockHeight: 300 });
    expect(readKept()).toMatchObject({ theme: 'light', dockHeight: 300 });
  });

  it('loses only the value that is no longer valid', () => {
    localStorage.setItem('tapyard.window', JSON.stringify({ theme: 'pink', dockHeight: 300, split: true }));
    expect(readKept()).toMatchObject({ theme: 'system', dockHeight: 300, split: true });
    localStorage.setItem('tapyard.window', '[not json');
    expect(readKept()).toEqual(Kept.parse({}));
  });

  it('does not contain what belongs to one visit', () => {
    writeKept(useUi.getState());
    expect(Object.keys(JSON.parse(localStorage.getItem('tapyard.window') ?? '{}')).sort()).toEqual(
      Object.keys(Kept.shape).sort(),
    );
  });
});

describe('the window’s own state', () => {
  it('goes to the neighbour when the active console is closed', () => {
    const { openConsole, closeConsole } = useUi.getState();
    openConsole({ guest: 'a', kind: 'serial' });
    openConsole({ guest: 'b', kind: 'serial' });
    openConsole({ guest: 'b', kind: 'serial' });
    expect(useUi.getState().consoles).toHaveLength(2);
    closeConsole('b:serial');
    expect(useUi.getState().activeConsole).toBe('a:serial');
    closeConsole('a:serial');
    expect(useUi.getState().activeConsole).toBe(null);
  });

  it('shows the inspector for what is selected', () => {
    useUi.setState({ inspectorOpen: false });
    useUi.getState().select({ kind: 'guest', id: 'seed/web' });
    expect(useUi.getState()).toMatchObject({ inspectorOpen: true, overlayOpen: true });
    useUi.getState().select(null);
    expect(useUi.getState()).toMatchObject({ selection: null, overlayOpen: false });
  });

  it('takes a network and its NAT for one thing, a guest of the same id for another', () => {
    expect(subjectKey({ kind: 'nat', id: 'seed/x' })).toBe(subjectKey({ kind: 'network', id: 'seed/x' }));
    expect(subjectKey({ kind: 'guest', id: 'seed/x' })).not.toBe(
      subjectKey({ kind: 'network', id: 'seed/x' }),
    );
    expect(sameSubject({ kind: 'nat', id: 'a' }, { kind: 'nat', id: 'a' })).toBe(true);
    expect(sameSubject({ kind: 'nat', id: 'a' }, null)).toBe(false);
  });
});
