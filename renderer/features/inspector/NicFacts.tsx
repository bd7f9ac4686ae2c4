// SPDX-License-Identifier: Apache-2.0
import { Trash2 } from 'lucide-react';
import { useRef, useState, type ReactElement } from 'react';
import { TapyardError, type ErrorData } from '../../../electron/contract/error.ts';
import { isShape, shapeText } from '../../../electron/contract/shape.ts';
import { canChangeNics } from '../../commands/rules.ts';
import { Button } from '../../lib/Button.tsx';
import { useFocusHome } from '../../lib/use-focus-home.ts';
import { useClient } from '../../store/core.ts';
import { useLinks, useNetworks } from '../../store/select.ts';
import type { Row } from '../../store/tables.ts';
import { useUi } from '../../store/ui.ts';
import { useFileHash } from './NewNic.tsx';
import styles from './Nics.module.css';
import { Fact, Facts } from './Section.tsx';
import { ShapeNic } from './ShapeNic.tsx';

type Nic = Row<'guests'>['nics'][number];

interface NicFactsProps {
  readonly guest: Row<'guests'>;
  readonly nic: Nic;
  /** Why it was not removed; null for another try. */
  readonly onError: (error: ErrorData | null) => void;
}

/** One NIC of a guest: its cable, its addresses, what it is held to. */
export function NicFacts({ guest, nic, onError }: NicFactsProps): ReactElement {
  const links = useLinks(guest.lab);
  const networks = useNetworks(guest.lab);
  const [shaping, setShaping] = useState(false);
  const block = useRef<HTMLDivElement>(null);
  useFocusHome(block);
  const network = networks.find((other) => other.name === nic.network);
  const link = links.find((other) => other.name === nic.tap);
  const gateway =
    network?.observed?.addresses.find((address) => !address.includes(':'))?.split('/')[0] ??
    network?.wanted?.address;
  return (
    <div ref={block} className={styles.nic} data-home>
      <Facts>
        <Fact
          name="Cable"
          value={`eth${nic.index} ↔ ${nic.tap ?? nic.wantedTap}`}
          note={nic.tap === null ? '(not plugged)' : nic.fd === null ? undefined : `(fd ${nic.fd})`}
        />
        <Fact name="Network" value={nic.network} note={link && !link.carrier ? 'no carrier' : undefined} />
        <Fact name="MAC" value={nic.mac} copy />
        <Fact
          name="Address"
          value={nic.address}
          copy
          note={
            nic.addressSource === null
              ? undefined
              : `${nic.addressSource}${guest.state === 'running' && !nic.leased ? ', no lease yet' : ''}`
          }
        />
        <Fact name="Gateway" value={gateway} />
        <Fact name="Name" value={nic.address === null ? null : `${guest.name}.lab`} copy />
        <Fact name="Held to" value={heldTo(nic)} note={shapeNote(nic)} />
      </Facts>
      {shaping ? (
        <ShapeNic guest={guest} nic={nic} onClose={() => setShaping(false)} />
      ) : (
        <Button
          size="small"
          className={styles.shape}
          aria-label={`Bandwidth, delay, loss… of eth${nic.index}`}
          data-opener
          onPress={() => setShaping(true)}
        >
          Bandwidth, delay, loss…
        </Button>
      )}
      {canChangeNics(guest) === true ? <RemoveNic guest={guest} nic={nic} onError={onError} /> : null}
    </div>
  );
}

const heldTo = ({ shape }: Nic): string | null => (isShape(shape) ? shapeText(shape) : null);

/** Where the lab file says something else. */
function shapeNote({ shape, wantedShape }: Nic): string | undefined {
  const [now, file] = [shapeText(shape), shapeText(wantedShape)];
  return now === '' || now === file ? undefined : `the lab file says ${file === '' ? 'nothing' : file}`;
}

function RemoveNic({ guest, nic, onError }: NicFactsProps): ReactElement {
  const client = useClient();
  const fileHash = useFileHash(guest.lab);
  const [removing, setRemoving] = useState(false);
  const { index } = nic;
  const label = `Remove NIC eth${index}`;
  const remove = (): void => {
    setRemoving(true);
    onError(null);
    client.guest
      .removeNic({ lab: guest.lab, guest: guest.name, nic: index, fileHash })
      .then(
        () => useUi.getState().announce(`The NIC eth${index} of ${guest.name} is removed.`),
        (thrown: unknown) => onError(TapyardError.from(thrown).toData()),
      )
      .finally(() => setRemoving(false));
  };
  return (
    <>
      {removing && guest.state === 'running' ? (
        <p role="status">{`Waiting until ${guest.name} lets go of eth${index}…`}</p>
      ) : null}
      <Button
        variant="ghost"
        size="small"
        iconOnly
        aria-label={label}
        tip={label}
        unavailable={removing ? 'Removing…' : undefined}
        className={styles.remove}
        onPress={remove}
      >
        <Trash2 aria-hidden />
      </Button>
    </>
  );
}
