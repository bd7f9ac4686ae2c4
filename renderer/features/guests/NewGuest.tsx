// SPDX-License-Identifier: Apache-2.0
import { useEffect, useState, type FormEvent, type ReactElement } from 'react';
import { Button } from '../../lib/Button.tsx';
import { Dialog, DialogActions } from '../../lib/Dialog.tsx';
import { Field } from '../../lib/Field.tsx';
import { FieldPair, Fields } from '../../lib/Fields.tsx';
import { Switch } from '../../lib/Switch.tsx';
import { useClient } from '../../store/core.ts';
import { useGuests, useLab, useNetworks } from '../../store/select.ts';
import type { Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import { SaveError } from '../forms/SaveError.tsx';
import { SubmitButton } from '../forms/SubmitButton.tsx';
import { useSubmission } from '../forms/use-submission.ts';
import { useTouched } from '../forms/use-touched.ts';
import styles from './NewGuest.module.css';
import {
  checkForm,
  definitionOf,
  freeAddress,
  freeName,
  type FieldName,
  type NewGuestForm,
} from './new-guest.ts';

/** The form that writes a new guest into the lab file. */
export default function NewGuest(): ReactElement | null {
  const lab = useLab();
  return lab ? <Form lab={lab} /> : null;
}

const close = (): void => useUi.getState().openDialog('newGuest', false);

function Form({ lab }: { readonly lab: Row<'labs'> }): ReactElement {
  const client = useClient();
  const guests = useGuests(lab.id);
  const networks = useNetworks(lab.id).filter((network) => network.wanted !== null);
  const [form, setForm] = useState<NewGuestForm>(() => ({
    name: freeName(guests),
    image: 'micro',
    memory: '256M',
    cpus: '1',
    network: networks[0]?.name ?? '',
    address: freeAddress(networks[0], guests) ?? '',
  }));
  const [start, setStart] = useState(true);
  const { sending, error, send } = useSubmission();

  const errors = checkForm(form, guests, networks);
  const { formRef, touch, shown, passes } = useTouched(errors);
  const set = (field: FieldName, value: string): void => {
    touch(field);
    setForm((old) => {
      const next = { ...old, [field]: value };
      if (field !== 'network') return next;
      // An address that was suggested or fits the old network only is of no use on the new one.
      const network = networks.find(({ name }) => name === value);
      return { ...next, address: freeAddress(network, guests) ?? '' };
    });
  };

  const submit = (fileHash: string): void => {
    if (!passes()) return;
    send(
      () =>
        client.guest.create({
          lab: lab.name,
          guest: form.name,
          definition: definitionOf(form),
          start: start && lab.state === 'up',
          fileHash,
        }),
      () => {
        close();
        useUi.getState().announce(`${form.name} is in the lab file.`);
        useUi.getState().select({ kind: 'guest', id: `${lab.id}/${form.name}` });
      },
    );
  };
  const onSubmit = (event: FormEvent): void => {
    event.preventDefault();
    submit(lab.fileHash);
  };

  const fields: FieldsProps = { form, shown, set };
  return (
    <Dialog title={`New guest in ${lab.name}`} open onClose={close}>
      <form ref={formRef} onSubmit={onSubmit} noValidate>
        <Fields>
          <Field
            label="Name"
            error={shown('name')}
            hint="Its host name. Lower-case letters, digits and hyphens."
          >
            {(control) => (
              <input
                {...control}
                // eslint-disable-next-line jsx-a11y/no-autofocus -- the first thing to decide in a form just opened
                autoFocus
                autoComplete="off"
                spellCheck={false}
                value={form.name}
                onFocus={(event) => event.target.select()}
                onChange={(event) => set('name', event.target.value)}
              />
            )}
          </Field>
          <ImageField {...fields} />
          <SizeFields {...fields} />
          <NicFields {...fields} networks={networks} />
          {lab.state === 'up' ? (
            <Switch isSelected={start} onChange={setStart}>
              Start it now
            </Switch>
          ) : (
            <p className={styles.note}>It starts with the lab, which is {lab.state}.</p>
          )}
          {error ? (
            <SaveError title="The guest was not created" error={error} lab={lab.id} onRetry={submit} />
          ) : null}
        </Fields>
        <DialogActions>
          <Button onPress={close}>Cancel</Button>
          <SubmitButton sending={sending}>
            {start && lab.state === 'up' ? 'Create and start' : 'Create'}
          </SubmitButton>
        </DialogActions>
      </form>
    </Dialog>
  );
}

interface FieldsProps {
  readonly form: NewGuestForm;
  /** What is wrong with a field, once it has been touched. */
  readonly shown: (field: FieldName) => string | undefined;
  readonly set: (field: FieldName, value: string) => void;
}

type Images = readonly { readonly image: string; readonly label: string; readonly ready: boolean }[];

/** Its first disk: an image of the list, or any other by its path. */
function ImageField({ form, shown, set }: FieldsProps): ReactElement {
  const client = useClient();
  const [images, setImages] = useState<Images>([]);

  useEffect(() => {
    const abort = new AbortController();
    client.image.list({}, { signal: abort.signal }).then(
      (answer) => setImages(answer.images),
      // Without a list a path can still be typed.
      () => {},
    );
    return () => abort.abort();
  }, [client]);

  return (
    <Field
      label="Image"
      error={shown('image')}
      hint="One of the list, or the path of a qcow2, raw or ISO file. It is never written to."
      mono
    >
      {(control) => (
        <>
          <input
            {...control}
            list="new-guest-images"
            autoComplete="off"
            spellCheck={false}
            value={form.image}
            onChange={(event) => set('image', event.target.value)}
          />
          <datalist id="new-guest-images">
            {images.map((image) => (
              <option key={image.image} value={image.image}>
                {image.ready ? image.label : `${image.label} (not here yet)`}
              </option>
            ))}
          </datalist>
        </>
      )}
    </Field>
  );
}

function SizeFields({ form, shown, set }: FieldsProps): ReactElement {
  return (
    <FieldPair>
      <Field label="Memory" error={shown('memory')} hint="Such as 256M or 2G." mono>
        {(control) => (
          <input
            {...control}
            autoComplete="off"
            value={form.memory}
            onChange={(event) => set('memory', event.target.value)}
          />
        )}
      </Field>
      <Field label="CPUs" error={shown('cpus')} hint="1 to 64." mono>
        {(control) => (
          <input
            {...control}
            inputMode="numeric"
            autoComplete="off"
            value={form.cpus}
            onChange={(event) => set('cpus', event.target.value)}
          />
        )}
      </Field>
    </FieldPair>
  );
}

interface NicFieldsProps extends FieldsProps {
  readonly networks: readonly Row<'networks'>[];
}

/** Its NIC; more are added once it is there. */
function NicFields({ form, shown, set, networks }: NicFieldsProps): ReactElement {
  return (
    <FieldPair>
      <Field label="Network" error={shown('network')} hint="The bridge that its cable goes to.">
        {(control) => (
          <select {...control} value={form.network} onChange={(event) => set('network', event.target.value)}>
            {networks.map((network) => (
              <option key={network.id} value={network.name}>
                {network.name} ·{' '}
                {network.wanted?.subnet ?? network.wanted?.uplink ?? network.wanted?.interface}
              </option>
            ))}
            <option value="">none</option>
          </select>
        )}
      </Field>
      <Field label="Address" error={shown('address')} hint="Reserved for it. Empty: DHCP picks one." mono>
        {(control) => (
          <input
            {...control}
            autoComplete="off"
            placeholder={form.network === '' ? 'no network' : 'by DHCP'}
            value={form.address}
            onChange={(event) => set('address', event.target.value)}
          />
        )}
      </Field>
    </FieldPair>
  );
}
