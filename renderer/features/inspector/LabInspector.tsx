// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import { count } from '../../lib/format.ts';
import { useGuests, useLinks, useNetworks, useSteps } from '../../store/select.ts';
import type { Row } from '../../store/tables.ts';
import { Head } from './Head.tsx';
import { Recipe } from './Recipe.tsx';
import { Addresses, Fact, Facts, Section } from './Section.tsx';
import { Traffic } from './Traffic.tsx';

const providers = {
  kernel: 'this computer’s own routing',
  pasta: 'pasta, without privilege',
  none: 'none',
} as const;

const hasIpv6 = (networks: readonly Row<'networks'>[]): boolean =>
  networks.some(({ wanted }) => (wanted?.ipv6 ?? null) !== null);

/** `ipv6`: the lab has a network with it, so how that leaves is of interest. */
function UplinkFacts({ lab, ipv6 }: { readonly lab: Row<'labs'>; readonly ipv6: boolean }): ReactElement {
  const { uplink } = lab;
  if (!uplink)
    return <p>{lab.state === 'down' ? 'There is none while the lab is down.' : 'Not there yet.'}</p>;
  return (
    <>
      <Facts>
        <Fact name="Through" value={providers[uplink.provider]} words />
        <Fact name="Device" value={uplink.device} />
        <Fact name="Leaves by" value={uplink.hostDevice} />
        <Addresses of={uplink.addresses} />
        <Fact name="Gateway" value={uplink.gateway} />
        {ipv6 ? (
          <>
            <Fact name="IPv6 leaves by" value={uplink.ipv6?.device ? uplink.ipv6.hostDevice : null} />
            <Fact name="IPv6 gateway" value={uplink.ipv6?.device ? uplink.ipv6.gateway : null} />
          </>
        ) : null}
      </Facts>
      {uplink.hostDevice === null ? null : (
        <p>
          Guests leave by {uplink.hostDevice} because this computer’s default route leads there; they follow
          it, into a VPN too.
        </p>
      )}
      {ipv6 && uplink.ipv6?.router ? (
        <p>
          All of this computer forwards IPv6 while labs with it are up, because this kernel (before Linux
          6.17) cannot for one interface alone. What is not a lab’s is dropped, and it ends with the last of
          them.
        </p>
      ) : null}
      {uplink.reason ? <ErrorNote error={uplink.reason} tone="warn" /> : null}
      {ipv6 && !uplink.reason && uplink.ipv6?.reason ? (
        <ErrorNote error={uplink.ipv6.reason} tone="warn" />
      ) : null}
    </>
  );
}

/** The whole lab, when nothing is selected. */
export function LabInspector({ lab }: { readonly lab: Row<'labs'> }): ReactElement {
  const guests = useGuests(lab.id);
  const networks = useNetworks(lab.id);
  const steps = useSteps(lab.id);
  const running = guests.filter((guest) => guest.state === 'running').length;
  return (
    <>
      <Head name={lab.name} lead={`lab · ${lab.state} · ${lab.scope} scope`} />
      <Section title="Lab">
        <Facts>
          <Fact name="Guests" value={`${count(guests.length, 'guest')}, ${running} running`} words />
          <Fact name="Networks" value={networks.map((network) => network.name).join(', ')} />
          <Fact name="File" value={lab.file} copy />
        </Facts>
      </Section>
      <Section title="Uplink">
        <UplinkFacts lab={lab} ipv6={hasIpv6(networks)} />
      </Section>
      <Recipe steps={steps} lab={lab.id} />
    </>
  );
}

/** The lab's way out. */
export function UplinkInspector({ lab }: { readonly lab: Row<'labs'> }): ReactElement {
  const links = useLinks(lab.id);
  const networks = useNetworks(lab.id);
  const device = links.find((link) => link.name === lab.uplink?.device);
  return (
    <>
      <Head
        name="Internet"
        lead={
          lab.uplink && lab.uplink.provider !== 'none'
            ? `through ${providers[lab.uplink.provider]}`
            : 'no uplink: guests reach each other only'
        }
      />
      {device ? <Traffic links={[device.id]} /> : null}
      <Section title="Uplink">
        <UplinkFacts lab={lab} ipv6={hasIpv6(networks)} />
      </Section>
    </>
  );
}
