// SPDX-License-Identifier: Apache-2.0
import { useMemo, type ReactElement } from 'react';
import { GuestActions } from '../guests/GuestActions.tsx';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import { StateIcon } from '../../lib/StateIcon.tsx';
import { count, formatBytes, formatDuration } from '../../lib/format.ts';
import { useNow } from '../../lib/use-now.ts';
import { gauges } from '../../store/gauges.ts';
import { useLinks, useSteps } from '../../store/select.ts';
import { subjectKey } from '../../store/subject.ts';
import type { Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import { Forwards } from './Forwards.tsx';
import { FailureNote } from '../jobs/FailureNote.tsx';
import { Head } from './Head.tsx';
import { Nics } from './Nics.tsx';
import { Recipe } from './Recipe.tsx';
import { Fact, Facts, Section } from './Section.tsx';
import { LiveFact } from './LiveFact.tsx';
import { Traffic } from './Traffic.tsx';
import { stepsOfGuest } from './recipe-words.ts';

/** A guest that ignores its power button for this long is worth a word, ms. */
const patience = 15_000;

const formatLoad = (percent: number): string => `${Math.round(percent)} % of a CPU`;

/** One guest: state, consoles, cables, and the recipe that makes it. */
export function GuestInspector({ guest }: { readonly guest: Row<'guests'> }): ReactElement {
  const subject = { kind: 'guest', id: guest.id } as const;
  const key = subjectKey(subject);
  const now = useNow(5000);
  const failure = useUi((ui) => ui.failures.get(key));
  const links = useLinks(guest.lab);
  const steps = useSteps(guest.lab);
  const recipe = useMemo(() => stepsOfGuest(steps, guest), [steps, guest]);
  const cables = guest.nics.flatMap((nic) =>
    links.filter((link) => nic.tap !== null && link.name === nic.tap),
  );

  const overview = [
    `${guest.state} ${formatDuration(now - guest.since)}`,
    guest.stateReason,
    guest.accelerator?.toUpperCase(),
    guest.pid === null ? null : `pid ${guest.pid}`,
  ].filter((part) => part);

  return (
    <>
      <Head icon={<StateIcon state={guest.state} />} name={guest.name} lead={overview.join(' · ')}>
        <GuestActions guest={guest} />
        {failure ? (
          <FailureNote at={key} failure={failure} />
        ) : guest.error ? (
          <ErrorNote error={guest.error} />
        ) : null}
        {guest.state === 'shutting down' && now - guest.since > patience ? (
          <p>The guest has not answered its power button yet. Force off pulls the plug.</p>
        ) : null}
        {guest.wanted ? null : <p>It is no longer in the lab file, and goes when it is shut off.</p>}
      </Head>
      {guest.pid === null ? null : <Traffic links={cables.map((link) => link.id)} />}
      <Nics guest={guest} />
      <Forwards guest={guest} />
      <Section title="Machine">
        <Facts>
          <Fact name="Image" value={guest.imageLabel} words />
          <Fact name="Memory" value={formatBytes(guest.memory)} words />
          <Fact name="CPUs" value={count(guest.cpus, 'CPU')} words />
          {guest.pid === null ? null : (
            <LiveFact name="Load" gauge={gauges.cpu} id={guest.id} format={formatLoad} />
          )}
        </Facts>
      </Section>
      <Recipe steps={recipe} lab={guest.lab} />
    </>
  );
}
