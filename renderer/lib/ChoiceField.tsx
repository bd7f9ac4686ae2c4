// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { Field } from './Field.tsx';

interface ChoiceFieldProps<Value extends string> {
  readonly label: string;
  readonly hint?: string | undefined;
  readonly error?: string | undefined;
  readonly value: Value;
  /** What can be chosen, with its words. */
  readonly choices: readonly (readonly [Value, string])[];
  /** Of a form that has just been asked for: it has the keyboard. */
  readonly first?: boolean;
  readonly onChoose: (value: Value) => void;
}

/** A field with a few things to choose from. */
export function ChoiceField<Value extends string>(props: ChoiceFieldProps<Value>): ReactElement {
  const { label, hint, error, value, choices, first, onChoose } = props;
  return (
    <Field label={label} hint={hint} error={error}>
      {(control) => (
        <select
          {...control}
          // eslint-disable-next-line jsx-a11y/no-autofocus -- the form has just been asked for
          autoFocus={first}
          value={value}
          onChange={(event) => {
            const chosen = choices.find(([each]) => each === event.target.value);
            if (chosen) onChoose(chosen[0]);
          }}
        >
          {choices.map(([each, words]) => (
            <option key={each} value={each}>
              {words}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}
