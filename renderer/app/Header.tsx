// SPDX-License-Identifier: Apache-2.0
import { Search } from 'lucide-react';
import type { ReactElement } from 'react';
import { CommandButton } from '../commands/CommandButton.tsx';
import { useCommand } from '../commands/use-command.ts';
import { JobProgress } from '../features/jobs/JobProgress.tsx';
import { LabPicker } from '../features/labs/LabPicker.tsx';
import { Button } from '../lib/Button.tsx';
import { Pill } from '../lib/Pill.tsx';
import { StateIcon } from '../lib/StateIcon.tsx';
import { useGuests, useNetworks } from '../store/select.ts';
import type { Row } from '../store/tables.ts';
import styles from './Header.module.css';

/** Which lab, how it is, and what can be done with all of it. */
export function Header({ lab }: { readonly lab: Row<'labs'> }): ReactElement {
  const search = useCommand('window.palette', null);
  const down = lab.state === 'up' || lab.state === 'stopping';
  // A guest that is off has a button of its own; what else is missing only the whole lab can mend.
  const missing = useNetworks(lab.id).some((network) => network.wanted && !network.observed);
  return (
    <header className={styles.header}>
      <LabPicker lab={lab} />
      <Running lab={lab} />
      <ScopePill lab={lab} />
      <JobProgress lab={lab.id} />
      <span className={styles.space} />
      <Button
        className={styles.search}
        aria-label={search.label}
        tip="Find anything in this lab (Ctrl+K)"
        onPress={search.run}
      >
        <Search aria-hidden />
        <span className={styles.searchText}>Search or run a command</span>
        <kbd className={styles.kbd}>Ctrl K</kbd>
      </Button>
      {lab.state === 'down' || lab.state === 'failed' || (lab.state === 'up' && missing) ? (
        <CommandButton
          id="lab.up"
          text={lab.state === 'failed' ? 'Try again' : 'Bring up'}
          variant={down ? 'plain' : 'primary'}
        />
      ) : null}
      {lab.state === 'down' || lab.state === 'starting' ? null : (
        <CommandButton id="lab.down" text="Bring down" />
      )}
      <CommandButton id="network.new" text="Add network" />
      <CommandButton id="guest.new" text="New guest" variant={down ? 'primary' : 'plain'} />
      <CommandButton id="window.inspector" variant="ghost" iconOnly />
    </header>
  );
}

const labIcons = {
  up: 'shut off',
  down: 'shut off',
  failed: 'failed',
  starting: 'starting',
  stopping: 'shutting down',
} as const;

/** "3 running", or the lab's own state while nothing runs. */
function Running({ lab }: { readonly lab: Row<'labs'> }): ReactElement {
  const guests = useGuests(lab.id);
  const running = guests.filter((guest) => guest.state === 'running').length;
  const crashed = guests.filter((guest) => guest.state === 'crashed').length;
  return (
    <>
      {running > 0 ? (
        <Pill tone="ok" tip={`${running} of ${guests.length} guests run`}>
          <StateIcon state="running" />
          {running} running
        </Pill>
      ) : lab.state === 'failed' ? (
        <Pill tone="bad" tip={lab.error?.message}>
          <StateIcon state="failed" />
          failed
        </Pill>
      ) : (
        <Pill>
          <StateIcon state={labIcons[lab.state]} />
          {lab.state === 'up' ? 'none running' : lab.state}
        </Pill>
      )}
      {crashed > 0 ? (
        <Pill tone="bad">
          <StateIcon state="crashed" />
          {crashed} crashed
        </Pill>
      ) : null}
    </>
  );
}

/** Where the lab's network is; pressed, it offers the other place. */
function ScopePill({ lab }: { readonly lab: Row<'labs'> }): ReactElement {
  return (
    <CommandButton
      id="lab.move"
      className={styles.scope}
      text={lab.scope === 'private' ? 'Private scope · no root' : 'Host scope'}
    />
  );
}
