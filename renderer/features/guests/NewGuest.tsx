// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef, useState, type FormEvent, type ReactElement } from 'react';
import { TapyardError, type ErrorData } from '../../../electron/contract/error.ts';
import { Button } from '../../lib/Button.tsx';
import { Dialog, DialogActions } from '../../lib/Dialog.tsx';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import { Field } from '../../lib/Field.tsx';
import { Switch } from '../../lib/Switch.tsx';
import { useClient } from '../../store/core.ts';
import { useGuests, useLab, useNetworks } from '../../store/select.ts';
import { useTables, type Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
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

type Images = readonly { readonly image: string; readonly label: string; readonly ready: boolean }[];

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
  const [touched, setTouched] = useState<ReadonlySet<FieldName>>(new Set());
  const [start, setStart] = useState(true);
  const [images, setImages] = useState<Images>([]);
  const [sending, setSending] = useState(false);
  const [error, setError] = useState<ErrorData | null>(null);
  const element = useRef<HTMLFormElement>(null);

  useEffect(() => {
    const abort = new AbortController();
    client.image.list({}, { signal: abort.signal }).then(
      (answer) => setImages(answer.images),
      // Without a list a path can still be typed.
      () => {},
    );
    return () => abort.abort();
  }, [client]);

  const errors = checkForm(form, guests, networks);
  const shown = (field: FieldName): string | undefined => (touched.has(field) ? errors[field] : undefined);
  const set = (field: FieldName, value: string): void => {
    setTouched((fields) => new Set([...fields, field]));
    setForm((old) => {
      const next = { ...old, [field]: value };
      if (field !== 'network') return next;
      // An address that was suggested or fits the old network only is of no use on the new one.
      return {
        ...next,
        address:
          freeAddress(
            networks.find((network) => network.name === value),
            guests,
          ) ?? '',
      };
    });
  };

  const submit = async (fileHash: string): Promise<void> => {
    setTouched(new Set(['name', 'image', 'memory', 'cpus', 'network', 'address']));
    if (Object.keys(errors).length > 0) {
      // Where to go on; the message is read with the field.
      requestAnimationFrame(() => element.current?.querySelector<HTMLElement>('[aria-invalid]')?.focus());
      return;
    }
    setSending(true);
    setError(null);
    try {
      await client.guest.create({
        lab: lab.name,
        guest: form.name,
        definition: definitionOf(form),
        start: start && lab.state === 'up',
        fileHash,
      });
      close();
      useUi.getState().announce(`${form.name} is in the lab file.`);
      useUi.getState().select({ kind: 'guest', id: `${lab.id}/${form.name}` });
    } catch (thrown) {
      setError(TapyardError.from(thrown).toData());
      setSending(false);
    }
  };
  const onSubmit = (event: FormEvent): void => {
    event.preventDefault();
    void submit(lab.fileHash);
  };

  return (
    <Dialog title={`New guest in ${lab.name}`} open onClose={close}>
      <form ref={element} onSubmit={onSubmit} noValidate>
        <div className={styles.fields}>
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
          <div className={styles.pair}>
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
          </div>
          <div className={styles.pair}>
            <Field label="Network" error={shown('network')} hint="The bridge that its cable goes to.">
              {(control) => (
                <select
                  {...control}
                  value={form.network}
                  onChange={(event) => set('network', event.target.value)}
                >
                  {networks.map((network) => (
                    <option key={network.id} value={network.name}>
                      {network.name} · {network.wanted?.subnet ?? network.wanted?.uplink}
                    </option>
                  ))}
                  <option value="">none</option>
                </select>
              )}
            </Field>
            <Field
              label="Address"
              error={shown('address')}
              hint="Reserved for it. Empty: DHCP picks one."
              mono
            >
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
          </div>
          {lab.state === 'up' ? (
            <Switch isSelected={start} onChange={setStart}>
              Start it now
            </Switch>
          ) : (
            <p className={styles.note}>It starts with the lab, which is {lab.state}.</p>
          )}
          {error ? <CreateError error={error} lab={lab.id} onRetry={(hash) => void submit(hash)} /> : null}
        </div>
        <DialogActions>
          <Button onPress={close}>Cancel</Button>
          <Button variant="primary" type="submit" unavailable={sending ? 'Writing the lab file…' : undefined}>
            {sending ? 'Writing…' : start && lab.state === 'up' ? 'Create and start' : 'Create'}
          </Button>
        </DialogActions>
      </form>
    </Dialog>
  );
}

interface CreateErrorProps {
  readonly error: ErrorData;
  readonly lab: string;
  readonly onRetry: (fileHash: string) => void;
}

/** Why it was not created. A file that was edited meanwhile is no reason to type all of it again. */
function CreateError({ error, lab, onRetry }: CreateErrorProps): ReactElement {
  const hash = useTables((tables) => tables.labs.get(lab)?.fileHash);
  return (
    <div role="alert">
      <ErrorNote title="The guest was not created" error={error}>
        {error.code === 'LAB_FILE_CHANGED' && hash !== undefined ? (
          <Button size="small" onPress={() => onRetry(hash)}>
            Try again on the file as it is now
          </Button>
        ) : null}
      </ErrorNote>
    </div>
  );
}
