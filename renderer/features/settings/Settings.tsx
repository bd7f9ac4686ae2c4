// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { Radio, RadioGroup } from '../../lib/RadioGroup.tsx';
import { Page } from '../../lib/Page.tsx';
import { Switch } from '../../lib/Switch.tsx';
import { useMedia } from '../../lib/use-media.ts';
import { Kept } from '../../store/kept.ts';
import { useTables } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import styles from './Settings.module.css';

/** What this window does differently for this person. Kept in the browser, at once. */
export default function Settings(): ReactElement {
  const theme = useUi((ui) => ui.theme);
  const screenReader = useUi((ui) => ui.screenReaderTerminals);
  const reduced = useMedia('(prefers-reduced-motion: reduce)');
  const host = useTables((tables) => tables.host.get('host'));
  return (
    <Page title="Settings">
      <div className={styles.settings}>
        <RadioGroup
          label="Theme"
          value={theme}
          onChange={(value) => {
            const chosen = Kept.shape.theme.safeParse(value);
            if (chosen.success) useUi.getState().keep({ theme: chosen.data });
          }}
        >
          <Radio value="system">As the system</Radio>
          <Radio value="dark">Dark</Radio>
          <Radio value="light">Light</Radio>
        </RadioGroup>
        <Switch
          isSelected={screenReader}
          onChange={(screenReaderTerminals) => useUi.getState().keep({ screenReaderTerminals })}
          description="Serial consoles keep their text where a screen reader finds it, and announce new lines. Costs some speed."
        >
          Screen reader mode for terminals
        </Switch>
        <div>
          <h2 className={styles.heading}>Motion</h2>
          <p className={styles.muted}>
            {reduced
              ? 'The system asks for reduced motion: traffic does not move on the cables.'
              : 'The system allows motion. Where it asks for less, traffic does not move on the cables.'}
          </p>
        </div>
        {host ? <p className={styles.muted}>Tapyard {host.tapyardVersion}</p> : null}
      </div>
    </Page>
  );
}
