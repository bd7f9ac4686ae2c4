// SPDX-License-Identifier: Apache-2.0
import type { FormEvent, ReactElement } from 'react';
import { NetworkMode } from '../../../electron/contract/lab-file.ts';
import { Button } from '../../lib/Button.tsx';
import { ChoiceField } from '../../lib/ChoiceField.tsx';
import { Dialog, DialogActions } from '../../lib/Dialog.tsx';
import { Field } from '../../lib/Field.tsx';
import { Fields } from '../../lib/Fields.tsx';
import { useClient } from '../../store/core.ts';
import { useGuests, useLab, useNetworks } from '../../store/select.ts';
import { useTables, type Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import { SaveError } from '../forms/SaveError.tsx';
import { SubmitButton } from '../forms/SubmitButton.tsx';
import { useSubmission } from '../forms/use-submission.ts';
import { useTouched } from '../forms/use-touched.ts';
import { BridgedFields } from './BridgedFields.tsx';
import type { FieldsProps } from './fields-props.ts';
import styles from './NetworkDialog.module.css';
import {
  checkForm,
  consequences,
  definitionOf,
  modeWords,
  type FieldName,
  type NetworkForm,
} from './network-form.ts';
import { OwnFields } from './OwnFields.tsx';
import { useNetworkForm } from './use-network-form.ts';

/** The form that writes a network into the lab file. `network` is the id of the one that is edited. */
export default function NetworkDialog({ network }: { readonly network: string | null }): ReactElement | null {
  const lab = useLab();
  const edited = useTables((tables) => (network === null ? null : tables.networks.get(network)));
  return lab && edited !== undefined ? <Form lab={lab} edited={edited} /> : null;
}

const close = (): void => useUi.setState({ networkForm: null });

interface FormProps {
  readonly lab: Row<'labs'>;
  readonly edited: Row<'networks'> | null;
}

function Form({ lab, edited }: FormProps): ReactElement {
  const client = useClient();
  const guests = useGuests(lab.id);
  const networks = useNetworks(lab.id);
  const { form, setForm, used } = useNetworkForm(lab, edited);
  const { sending, error, send } = useSubmission();
  const isNew = edited === null;

  const around = { scope: lab.scope, edited, networks, guests, used };
  const errors = checkForm(form, around);
  const notes = Object.keys(errors).length > 0 ? [] : consequences(form, around);
  const { formRef, touch, shown, passes } = useTouched(errors);
  const set = (field: FieldName, next: NetworkForm): void => {
    touch(field);
    setForm(next);
  };

  const submit = (fileHash: string): void => {
    if (!passes()) return;
    const definition = definitionOf(form, edited?.definition ?? null);
    const input = { lab: lab.name, network: form.name, definition, fileHash };
    send(
      () => (isNew ? client.network.create(input) : client.network.change(input)),
      () => {
        close();
        useUi.getState().announce(`${form.name} is ${isNew ? 'in the lab file' : 'changed'}.`);
        useUi.getState().select({ kind: 'network', id: `${lab.id}/${form.name}` });
      },
    );
  };
  const onSubmit = (event: FormEvent): void => {
    event.preventDefault();
    submit(lab.fileHash);
  };

  const fields: FieldsProps = { form, shown, set };
  return (
    <Dialog title={edited ? `Edit ${edited.name}` : `Add a network to ${lab.name}`} open onClose={close}>
      <form ref={formRef} onSubmit={onSubmit} noValidate>
        <Fields>
          {isNew ? <NameField {...fields} /> : null}
          <ChoiceField
            label="Mode"
            error={shown('mode')}
            value={form.mode}
            choices={modes}
            onChoose={(mode) => set('mode', { ...form, mode })}
          />
          {form.mode === 'bridged' ? <BridgedFields {...fields} lab={lab.id} /> : <OwnFields {...fields} />}
          <Notes of={notes} />
          {isNew && lab.state !== 'up' ? (
            <p className={styles.note}>It is made with the lab, which is {lab.state}.</p>
          ) : null}
          {error ? (
            <SaveError
              title={isNew ? 'The network was not added' : `${form.name} was not changed`}
              error={error}
              lab={lab.id}
              onRetry={submit}
            />
          ) : null}
        </Fields>
        <DialogActions>
          <Button onPress={close}>Cancel</Button>
          <SubmitButton sending={sending}>{isNew ? 'Add network' : 'Save'}</SubmitButton>
        </DialogActions>
      </form>
    </Dialog>
  );
}

const modes = NetworkMode.options.map((mode) => [mode, modeWords[mode]] as const);

function NameField({ form, shown, set }: FieldsProps): ReactElement {
  return (
    <Field label="Name" error={shown('name')} hint="Its bridge’s name: at most 15 characters." mono>
      {(control) => (
        <input
          {...control}
          // eslint-disable-next-line jsx-a11y/no-autofocus -- the first thing to decide in a form just opened
          autoFocus
          autoComplete="off"
          spellCheck={false}
          value={form.name}
          onFocus={(event) => event.target.select()}
          onChange={(event) => set('name', { ...form, name: event.target.value })}
        />
      )}
    </Field>
  );
}

/** What saving does to guests that are there. */
function Notes({ of }: { readonly of: readonly string[] }): ReactElement | null {
  if (of.length === 0) return null;
  return (
    <ul className={styles.notes} aria-label="What it does to guests">
      {of.map((note) => (
        <li key={note}>{note}</li>
      ))}
    </ul>
  );
}
