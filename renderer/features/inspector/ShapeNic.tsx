// SPDX-License-Identifier: Apache-2.0
import { useState, type ReactElement } from 'react';
import { isShape } from '../../../electron/contract/shape.ts';
import { Field } from '../../lib/Field.tsx';
import { FieldPair } from '../../lib/Fields.tsx';
import { useClient } from '../../store/core.ts';
import type { Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import { SmallForm } from '../forms/SmallForm.tsx';
import { useSubmission } from '../forms/use-submission.ts';
import { formShape, shapeErrors, type ShapeForm, shapeForm } from './shape-form.ts';

interface ShapeNicProps {
  readonly guest: Row<'guests'>;
  readonly nic: Row<'guests'>['nics'][number];
  readonly onClose: () => void;
}

const fields = [
  ['rate', 'Bandwidth', '10mbit', 'In kbit, mbit or gbit per second.'],
  ['loss', 'Loss', '1%', 'Of the packets.'],
  ['delay', 'Delay', '20ms', 'Each way.'],
  ['jitter', 'Jitter', '5ms', 'Of the delay.'],
] as const;

/** Holds a NIC to a bandwidth, a delay and a loss, at once where the guest runs. */
export function ShapeNic({ guest, nic, onClose }: ShapeNicProps): ReactElement {
  const client = useClient();
  const [form, setForm] = useState<ShapeForm>(shapeForm(nic.wantedShape));
  const submission = useSubmission();
  const errors = shapeErrors(form);
  const submit = (): void => {
    if (Object.keys(errors).length > 0) return;
    const shape = formShape(form);
    submission.send(
      () => client.guest.setShape({ lab: guest.lab, guest: guest.name, nic: nic.index, shape }),
      () => {
        onClose();
        const held = isShape(shape) ? 'shaped' : 'no longer shaped';
        useUi.getState().announce(`The NIC eth${nic.index} of ${guest.name} is ${held}.`);
      },
    );
  };
  const field = ([key, label, example, hint]: (typeof fields)[number]): ReactElement => (
    <Field key={key} label={label} error={errors[key]} hint={hint} mono>
      {(control) => (
        <input
          {...control}
          autoComplete="off"
          placeholder={`none, or ${example}`}
          // eslint-disable-next-line jsx-a11y/no-autofocus -- the form has just been asked for
          autoFocus={key === 'rate'}
          value={form[key]}
          onChange={(event) => setForm({ ...form, [key]: event.target.value.trim() })}
        />
      )}
    </Field>
  );
  return (
    <SmallForm
      label={`Shape of eth${nic.index} of ${guest.name}`}
      submission={submission}
      submit="Apply"
      refused="The NIC was not shaped"
      onSubmit={submit}
      onCancel={onClose}
    >
      <FieldPair>{fields.slice(0, 2).map(field)}</FieldPair>
      <FieldPair>{fields.slice(2).map(field)}</FieldPair>
    </SmallForm>
  );
}
