// SPDX-License-Identifier: Apache-2.0
import { useId, type ReactElement } from 'react';
import { ChoiceField } from '../../lib/ChoiceField.tsx';
import { Field } from '../../lib/Field.tsx';
import { useLinks } from '../../store/select.ts';
import type { FieldsProps } from './fields-props.ts';
import { candidates } from './network-form.ts';

const vias = [
  ['uplink', 'A bridge that an administrator made'],
  ['interface', 'An interface that this computer has no use for'],
] as const;

/** Each way in words. */
const words = {
  uplink: {
    label: 'Bridge',
    hint: 'One that an administrator allows. Who gives addresses there is not Tapyard.',
    example: 'br-lan',
  },
  interface: {
    label: 'Interface',
    hint: 'A spare card, cable or adapter that an administrator allows: guests are on the network behind it.',
    example: 'eth1',
  },
} as const;

/** Where the guests of a bridged network are. */
export function BridgedFields({
  form,
  shown,
  set,
  lab,
}: FieldsProps & { readonly lab: string }): ReactElement {
  const links = useLinks(lab);
  const list = useId();
  const { via } = form;
  const { label, hint, example } = words[via];
  return (
    <>
      <ChoiceField
        label="Guests are on"
        value={via}
        choices={vias}
        onChoose={(next) => set('via', { ...form, via: next })}
      />
      <Field label={label} error={shown(via)} hint={hint} mono>
        {(control) => (
          <input
            {...control}
            autoComplete="off"
            spellCheck={false}
            list={list}
            placeholder={example}
            value={form[via]}
            onChange={(event) => set(via, { ...form, [via]: event.target.value.trim() })}
          />
        )}
      </Field>
      <datalist id={list}>
        {candidates(links, via).map((name) => (
          <option key={name} value={name}>
            {name}
          </option>
        ))}
      </datalist>
    </>
  );
}
