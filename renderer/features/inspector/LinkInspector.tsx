// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { isShape, shapeText } from '../../../electron/contract/shape.ts';
import { CommandButton } from '../../commands/CommandButton.tsx';
import { Button } from '../../lib/Button.tsx';
import { subjectKey, type Subject } from '../../store/subject.ts';
import { useTables, type Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import { FailureNote } from '../jobs/FailureNote.tsx';
import { Head, HeadActions } from './Head.tsx';
import { Addresses, Fact, Facts, Section } from './Section.tsx';
import { Traffic } from './Traffic.tsx';

/** One interface as the kernel reports it: a port, or something that Tapyard did not make. */
export function LinkInspector({ link }: { readonly link: Row<'links'> }): ReactElement {
  const guests = useTables((tables) => tables.guests);
  const guest = [...guests.values()].find(
    (other) => other.lab === link.lab && other.nics.some((nic) => nic.tap === link.name),
  );
  const nic = guest?.nics.find((other) => other.tap === link.name);
  const subject: Subject = { kind: 'link', id: link.id };
  const key = subjectKey(subject);
  const failure = useUi((ui) => ui.failures.get(key));
  const kind = link.kind === 'tun' ? 'tap' : link.kind === '' ? 'interface' : link.kind;
  return (
    <>
      <Head
        name={link.name}
        lead={`${kind}${link.master === null ? '' : ` · port of ${link.master}`} · ${link.up ? 'up' : 'down'} · ${link.carrier ? 'carrier' : 'no carrier'}`}
      >
        {guest ? (
          <HeadActions>
            <CommandButton
              id="cable.link"
              subject={subject}
              text={nic?.plugged === false ? 'Mend the cable' : 'Cut the cable'}
            />
            <Button onPress={() => useUi.getState().select({ kind: 'guest', id: guest.id })}>
              Go to {guest.name}
            </Button>
          </HeadActions>
        ) : null}
        {failure ? <FailureNote at={key} failure={failure} /> : null}
        {link.ours === null ? <p>Tapyard did not make this interface and leaves it alone.</p> : null}
      </Head>
      <Traffic links={[link.id]} />
      <Section title="Interface">
        <Facts>
          {guest && nic ? (
            <Fact
              name="Cable"
              value={`${guest.name} eth${nic.index} ↔ ${link.name}`}
              note={nic.fd === null ? undefined : `(fd ${nic.fd})`}
            />
          ) : null}
          {nic ? (
            <Fact name="Guest’s link" value={nic.plugged ? 'up' : 'down: the cable is cut'} words />
          ) : null}
          {nic && isShape(nic.shape) ? <Fact name="Held to" value={shapeText(nic.shape)} /> : null}
          <Fact name="Bridge" value={link.master} />
          <Fact name="MAC" value={link.mac} copy />
          <Addresses of={link.addresses} />
          <Fact name="MTU" value={String(link.mtu)} />
          <Fact name="State" value={link.operstate} />
          <Fact name="ifindex" value={String(link.ifindex)} />
        </Facts>
      </Section>
    </>
  );
}
