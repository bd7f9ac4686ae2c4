// SPDX-License-Identifier: Apache-2.0
import { useMemo, type ReactElement } from 'react';
import type { NetworkMode } from '../../../electron/contract/lab-file.ts';
import { bridgeName } from '../../../electron/contract/rows.ts';
import { CommandButton } from '../../commands/CommandButton.tsx';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import { count } from '../../lib/format.ts';
import { useLinks, useSteps } from '../../store/select.ts';
import { subjectKey, type Subject } from '../../store/subject.ts';
import { useTables, type Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import { FailureNote } from '../jobs/FailureNote.tsx';
import { Head, HeadActions } from './Head.tsx';
import { Doors } from './Doors.tsx';
import { HostNames } from './HostNames.tsx';
import styles from './NetworkInspector.module.css';
import { Recipe } from './Recipe.tsx';
import { Addresses, Fact, Facts, Section } from './Section.tsx';
import { Traffic } from './Traffic.tsx';
import { stepsOfNetwork } from './recipe-words.ts';
import { wayName } from '../map/words.ts';

interface NetworkInspectorProps {
  readonly network: Row<'networks'>;
  /** NAT is a thing of its own on the map, and the same row. */
  readonly nat: boolean;
}

/** What the guests of a network that is there reach. */
function modeLead({ name, wanted, observed }: Row<'networks'>, mode: NetworkMode, on: boolean): string {
  switch (mode) {
    case 'nat':
      return on ? `On: guests of ${name} reach the internet` : `Off: ${name} is isolated`;
    case 'routed':
      return observed?.proxyArp?.device
        ? `Guests have addresses of the LAN: proxy ARP on ${observed.proxyArp.device}`
        : 'Guests keep their addresses on the LAN, and are reached by them';
    case 'isolated':
      return 'Guests reach each other, and nothing else';
    case 'bridged':
      return wanted?.interface
        ? `Guests are on the network behind ${wanted.interface}; this computer is not`
        : 'Guests are on a bridge of this computer, as its other ports are';
  }
}

/** One network: its bridge, its ports, its NAT. */
export function NetworkInspector({ network, nat }: NetworkInspectorProps): ReactElement {
  const subject: Subject = { kind: nat ? 'nat' : 'network', id: network.id };
  const key = subjectKey(subject);
  const failure = useUi((ui) => ui.failures.get(key));
  const steps = useSteps(network.lab);
  const recipe = useMemo(() => stepsOfNetwork(steps, network.id), [steps, network.id]);
  const links = useLinks(network.lab);
  const guests = useTables((tables) => tables.guests);
  const { observed, wanted } = network;
  const bridge = links.find((link) => link.name === bridgeName(network) && link.kind === 'bridge');
  const ports = links.filter((link) => link.master === bridgeName(network));
  const on = observed?.nat ?? false;
  const mode = (observed ?? wanted)?.mode ?? 'nat';

  return (
    <>
      <Head
        name={nat ? `${wayName[mode]}${mode === 'nat' ? ' of' : ':'} ${network.name}` : network.name}
        lead={
          nat
            ? observed
              ? modeLead(network, mode, on)
              : 'Not there yet'
            : observed
              ? `bridge · ${observed.up ? 'up' : 'down'} · ${count(observed.ports, 'port')}`
              : 'not there: only the lab file has it'
        }
      >
        <HeadActions>
          {mode === 'nat' ? (
            <CommandButton id="network.nat" subject={subject} text={on ? 'Turn NAT off' : 'Turn NAT on'} />
          ) : null}
          <CommandButton id="network.edit" subject={subject} text="Edit" />
          <CommandButton id="network.remove" subject={subject} text="Remove…" />
        </HeadActions>
        {failure ? <FailureNote at={key} failure={failure} /> : null}
        {network.reason ? <ErrorNote error={network.reason} tone={observed ? 'warn' : 'bad'} /> : null}
      </Head>
      {bridge ? <Traffic links={[bridge.id]} /> : null}
      <Section title="Network">
        <Facts>
          {wanted?.uplink ? (
            <Fact name="Bridge" value={wanted.uplink} />
          ) : wanted?.interface ? (
            <Fact name="Interface" value={wanted.interface} />
          ) : (
            <Fact name="Subnet" value={wanted?.subnet} />
          )}
          {wanted?.ipv6 ? <Fact name="IPv6 subnet" value={wanted.ipv6} copy /> : null}
          {observed ? (
            <Addresses of={observed.addresses} />
          ) : (
            <Fact name="Address" value={wanted?.address} note="not there yet" />
          )}
          <Fact name="MAC" value={observed?.mac} copy />
          <Fact name="MTU" value={observed ? String(observed.mtu) : wanted ? String(wanted.mtu) : null} />
          <Fact
            name="DHCP, DNS"
            value={observed?.dns ? `${observed.dns.from} – ${observed.dns.to}` : observed ? 'off' : null}
            note={observed?.dns?.pid ? `dnsmasq ${observed.dns.pid}` : undefined}
          />
          <HostNames network={network} />
          <Fact name="Mode" value={mode} words />
          {observed?.proxyArp ? (
            <Fact
              name="Proxy ARP"
              value={observed.proxyArp.device ?? 'off'}
              note={
                observed.proxyArp.device
                  ? count(observed.proxyArp.addresses, 'address', 'addresses')
                  : undefined
              }
            />
          ) : null}
          {mode === 'nat' ? <Fact name="NAT" value={observed ? (on ? 'on' : 'off') : null} words /> : null}
          <Fact name="Anti-spoofing" value={observed ? (observed.antispoof ? 'on' : 'off') : null} words />
          <Fact name="Forwarding" value={observed ? (observed.forwarding ? 'on' : 'off') : null} words />
          <Fact name="ifindex" value={observed ? String(observed.ifindex) : null} />
        </Facts>
      </Section>
      <Doors network={network} />
      {ports.length > 0 ? (
        <Section title="Ports">
          <ul className={styles.ports}>
            {ports.map((port) => {
              const guest = [...guests.values()].find(
                (other) => other.lab === network.lab && other.nics.some((nic) => nic.tap === port.name),
              );
              return (
                <li key={port.id}>
                  <button
                    type="button"
                    onClick={() => useUi.getState().select({ kind: 'link', id: port.id })}
                  >
                    <code>{port.name}</code>
                    <span>
                      {port.carrier ? 'carrier' : 'no carrier'}
                      {guest ? ` · ${guest.name}` : ''}
                    </span>
                  </button>
                </li>
              );
            })}
          </ul>
        </Section>
      ) : null}
      <Recipe steps={recipe} lab={network.lab} />
    </>
  );
}
