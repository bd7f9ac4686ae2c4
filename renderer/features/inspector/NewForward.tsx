// SPDX-License-Identifier: Apache-2.0
import { useState, type ReactElement } from 'react';
import { listeningText } from '../../../electron/contract/lab-file.ts';
import { ChoiceField } from '../../lib/ChoiceField.tsx';
import { Field } from '../../lib/Field.tsx';
import { FieldPair } from '../../lib/Fields.tsx';
import { useClient } from '../../store/core.ts';
import type { Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import { SmallForm } from '../forms/SmallForm.tsx';
import { useSubmission } from '../forms/use-submission.ts';
import { useTouched } from '../forms/use-touched.ts';
import { checkForward, portOf, reaches, type ForwardForm } from './forward-form.ts';

interface NewForwardProps {
  readonly guest: Row<'guests'>;
  readonly others: readonly Row<'forwards'>[];
  readonly onClose: () => void;
}

const protocols = [
  ['tcp', 'TCP'],
  ['udp', 'UDP (host scope)'],
] as const;

/** Lets a port of this computer lead to a guest. */
export function NewForward({ guest, others, onClose }: NewForwardProps): ReactElement {
  const client = useClient();
  const [form, setForm] = useState<ForwardForm>({
    port: '',
    to: '',
    address: '127.0.0.1',
    protocol: 'tcp',
  });
  const submission = useSubmission();
  const { formRef, shown, passes } = useTouched(checkForward(form, others));
  const submit = (): void => {
    const port = portOf(form.port);
    const to = portOf(form.to);
    if (!passes() || port === undefined) return;
    const { address, protocol } = form;
    const forward = { port, address, protocol, ...(to === undefined ? {} : { to }) };
    submission.send(
      () => client.forward.add({ lab: guest.lab, guest: guest.name, forward }),
      () => {
        useUi.getState().announce(`${listeningText(forward)} leads to ${guest.name}.`);
        onClose();
      },
    );
  };
  const set = (part: Partial<ForwardForm>): void => setForm((old) => ({ ...old, ...part }));
  return (
    <SmallForm
      label={`New forward to ${guest.name}`}
      formRef={formRef}
      submission={submission}
      submit="Forward"
      refused="The forward was not made"
      onSubmit={submit}
      onCancel={onClose}
    >
      <FieldPair>
        <Field label="Port here" error={shown('port')} mono>
          {(control) => (
            <input
              {...control}
              // eslint-disable-next-line jsx-a11y/no-autofocus -- the form was opened to type here
              autoFocus
              inputMode="numeric"
              autoComplete="off"
              placeholder="8080"
              value={form.port}
              onChange={(event) => set({ port: event.target.value })}
            />
          )}
        </Field>
        <Field label="Guest’s port" error={shown('to')} mono>
          {(control) => (
            <input
              {...control}
              inputMode="numeric"
              autoComplete="off"
              placeholder={form.port === '' ? '80' : form.port}
              value={form.to}
              onChange={(event) => set({ to: event.target.value })}
            />
          )}
        </Field>
      </FieldPair>
      <ChoiceField
        label="Protocol"
        value={form.protocol}
        choices={protocols}
        onChoose={(protocol) => set({ protocol })}
      />
      <ChoiceField
        label="Who reaches it"
        error={shown('address')}
        value={form.address}
        choices={reaches.map(({ address, words }) => [address, `${words} (${address})`])}
        onChoose={(address) => set({ address })}
      />
    </SmallForm>
  );
}
