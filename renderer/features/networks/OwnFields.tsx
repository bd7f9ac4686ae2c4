// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { ChoiceField } from '../../lib/ChoiceField.tsx';
import { Field } from '../../lib/Field.tsx';
import { FieldPair } from '../../lib/Fields.tsx';
import type { FieldsProps } from './fields-props.ts';
import { withDhcp, withSubnet } from './network-form.ts';

/** What a network with a bridge of its own has. */
export function OwnFields(props: FieldsProps): ReactElement {
  const { form, shown, set } = props;
  return (
    <>
      {form.mode === 'routed' ? <RoutedField {...props} /> : null}
      <FieldPair>
        <Field label="Subnet" error={shown('subnet')} hint="The bridge takes its first address." mono>
          {(control) => (
            <input
              {...control}
              autoComplete="off"
              spellCheck={false}
              placeholder="192.168.57.0/24"
              value={form.subnet}
              onChange={(event) => set('subnet', withSubnet(form, event.target.value.trim()))}
            />
          )}
        </Field>
        <Field label="MTU" error={shown('mtu')} hint="Bytes." mono>
          {(control) => (
            <input
              {...control}
              inputMode="numeric"
              autoComplete="off"
              placeholder="1500"
              value={form.mtu}
              onChange={(event) => set('mtu', { ...form, mtu: event.target.value.trim() })}
            />
          )}
        </Field>
      </FieldPair>
      <DhcpFields {...props} />
    </>
  );
}

const reached = [
  ['route', 'By a route: its router sends the subnet to this computer'],
  ['proxyArp', 'By proxy ARP: the subnet is a part of its own'],
] as const;

/** How the LAN reaches the guests of a routed network. */
function RoutedField({ form, set }: FieldsProps): ReactElement {
  return (
    <ChoiceField
      label="Reached from the LAN"
      hint={
        form.proxyArp
          ? 'This computer answers the LAN’s ARP for its guests, so they have addresses of the LAN where a bridge cannot be, as behind Wi-Fi. An administrator allows it, and the LAN’s DHCP leaves the subnet out.'
          : undefined
      }
      value={form.proxyArp ? 'proxyArp' : 'route'}
      choices={reached}
      onChoose={(way) => set('proxyArp', { ...form, proxyArp: way === 'proxyArp' })}
    />
  );
}

const dhcpKinds = [
  ['half', 'On, the second half of the subnet'],
  ['range', 'On, a range'],
  ['off', 'Off'],
] as const;

/** Which addresses guests are given that have none of their own. */
function DhcpFields({ form, shown, set }: FieldsProps): ReactElement {
  return (
    <>
      <ChoiceField
        label="DHCP"
        error={shown('dhcp')}
        hint="For guests without an address of their own."
        value={form.dhcp}
        choices={dhcpKinds}
        onChoose={(dhcp) => set('dhcp', withDhcp(form, dhcp))}
      />
      {form.dhcp === 'range' ? (
        <FieldPair>
          {(['from', 'to'] as const).map((end) => (
            <Field key={end} label={end === 'from' ? 'From' : 'To'} error={shown(end)} mono>
              {(control) => (
                <input
                  {...control}
                  autoComplete="off"
                  spellCheck={false}
                  value={form[end]}
                  onChange={(event) => set(end, { ...form, [end]: event.target.value.trim() })}
                />
              )}
            </Field>
          ))}
        </FieldPair>
      ) : null}
    </>
  );
}
