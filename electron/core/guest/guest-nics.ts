// SPDX-License-Identifier: Apache-2.0
import type { Subscription } from '../../contract/client.ts';
import { TapyardError } from '../../contract/error.ts';
import { addDevice, dropNetdev, freeNumber, giveTap, trueTaps } from './hot-plug.ts';
import type { Machine } from './machine.ts';
import { type GuestSpec, type GuestStatus, type NicSpec, tapOf } from './spec.ts';
import { within } from './waiting.ts';

/** A guest lets go of a NIC within some 0.1 s; this is for one that is busy. */
const unplugDeadlineMs = 10_000;

/** What of a guest its NICs change. */
export type NicChange = Partial<Pick<GuestStatus, 'taps' | 'cut'>>;

/** What a guest lends to the work on its NICs. */
export interface NicsOf {
  readonly id: string;
  readonly spec: () => GuestSpec;
  readonly status: () => GuestStatus;
  /** The QEMU that runs and is spoken to. */
  readonly machine: () => Machine | undefined;
  /** Throws where a QEMU runs whose monitor is not heard. */
  readonly refuseUnheard: () => void;
  readonly onChange: (listener: () => void) => Subscription;
  readonly set: (change: NicChange) => void;
  /** Writes into the state file what the next core has to know of a QEMU that runs. */
  readonly note: (change: NicChange) => void;
}

/** The NICs of a QEMU that runs: cables cut and mended, NICs that come and go. */
export class GuestNics {
  readonly #guest: NicsOf;
  /** NICs come and go one after the other. */
  #plugging: Promise<unknown> = Promise.resolve();

  constructor(guest: NicsOf) {
    this.#guest = guest;
  }

  /** As Guest.setLink says. */
  async setLink(nic: number, up: boolean): Promise<boolean> {
    const { id, spec, status, refuseUnheard, note, set } = this.#guest;
    const nics = spec().nics.map(({ index }) => index);
    const wanted = spec().nics.find(({ index }) => index === nic);
    if (wanted === undefined) {
      throw new TapyardError('NO_SUCH_NIC', `${id} has no such NIC.`, {
        hint: nics.length === 0 ? 'It has none at all.' : `It has ${nics.join(', ')}.`,
        subject: id,
      });
    }
    refuseUnheard();
    const machine = this.#guest.machine();
    const { state, cut, taps } = status();
    // A NIC that the file got since has no cable before the next start.
    const tap = tapOf(wanted, taps);
    if (machine === undefined || tap === undefined)
      throw new TapyardError('GUEST_STATE', `${id} is ${state} and NIC ${nic} hangs on no cable.`, {
        hint: 'Start it first.',
        subject: id,
      });
    if (up !== cut.includes(tap.nic)) return false;
    await machine.execute('set_link', { name: `net${tap.nic}`, up });
    const now = up ? cut.filter((other) => other !== tap.nic) : [...cut, tap.nic];
    note({ cut: now });
    set({ cut: now });
    return true;
  }

  /** As Guest.plug says. */
  async plug(nic: Omit<NicSpec, 'index'>): Promise<void> {
    const { id, spec, status, note, set } = this.#guest;
    await this.#oneAfterTheOther(async () => {
      if (tapOf(nic, status().taps) !== undefined) return;
      const machine = this.#pluggable('one more NIC');
      const number = freeNumber(id, status().argv ?? [], status().taps);
      // A core that was killed just then may have left one.
      await dropNetdev(machine, number);
      const tap = await giveTap(spec(), nic, number, status().sockets.plug);
      try {
        // Noted first: the next core asks QEMU which of these have a device, and takes the others away.
        note({ taps: [...status().taps, tap] });
        await addDevice(machine, tap);
      } catch (thrown) {
        await dropNetdev(machine, number);
        note({ taps: status().taps });
        throw thrown;
      }
      if (this.#guest.machine() !== machine) return;
      // Once more: the guest may have let go of another one meanwhile.
      const taps = [...status().taps, tap];
      note({ taps });
      set({ taps });
    });
  }

  /** As Guest.unplug says. */
  async unplug(nic: Pick<NicSpec, 'network' | 'mac'>): Promise<void> {
    const { id, status } = this.#guest;
    await this.#oneAfterTheOther(async () => {
      const tap = tapOf(nic, status().taps);
      if (tap === undefined) return;
      const machine = this.#pluggable('a NIC less');
      try {
        await machine.execute('device_del', { id: `nic${tap.nic}` });
      } catch (thrown) {
        const { message } = TapyardError.from(thrown);
        if (/not found/.test(message)) await this.letGo(tap.nic);
        // Asked before, and the guest has not answered yet: it may now.
        else if (!/already in the process of unplug/.test(message)) throw thrown;
      }
      if (await this.#isGone(tap.nic)) return;
      throw new TapyardError(
        'NIC_NOT_RELEASED',
        `${id} did not let go of the NIC ${tap.mac} on ${nic.network} within ${unplugDeadlineMs / 1000} s, and keeps it.`,
        {
          hint: 'It may still be booting, or its system cannot unplug PCI devices. Try again, or shut it down first.',
          subject: id,
        },
      );
    });
  }

  /** The guest let go of a NIC, asked or by itself: the tap goes too. */
  async letGo(number: number): Promise<void> {
    const { status, note, set } = this.#guest;
    const machine = this.#guest.machine();
    if (machine === undefined || !status().taps.some(({ nic }) => nic === number)) return;
    await dropNetdev(machine, number);
    if (this.#guest.machine() !== machine) return;
    const change = {
      taps: status().taps.filter(({ nic }) => nic !== number),
      cut: status().cut.filter((nic) => nic !== number),
    };
    note(change);
    set(change);
  }

  /** Makes the taps of a QEMU that was taken over those that it has. */
  async settle(): Promise<void> {
    const { status, note, set } = this.#guest;
    const machine = this.#guest.machine();
    const { argv, taps } = status();
    if (machine === undefined || argv === null) return;
    // One that does not answer is told of by whatever is asked of it next.
    const now = await trueTaps(machine, argv, taps).catch(() => taps);
    if (now.length === taps.length || this.#guest.machine() !== machine) return;
    note({ taps: now });
    set({ taps: now });
  }

  /** Whether QEMU lets go of a tap within the deadline. */
  async #isGone(number: number): Promise<boolean> {
    const { status, onChange } = this.#guest;
    let following: Subscription | undefined;
    const gone = new Promise<true>((resolve) => {
      const look = (): void => {
        if (!status().taps.some(({ nic }) => nic === number)) resolve(true);
      };
      following = onChange(look);
      look();
    });
    try {
      return (await within(gone, unplugDeadlineMs)) === true;
    } finally {
      following?.close();
    }
  }

  async #oneAfterTheOther(work: () => Promise<void>): Promise<void> {
    const done = this.#plugging.then(work);
    this.#plugging = done.catch(() => undefined);
    await done;
  }

  /** The machine of a guest that can be given and taken NICs. */
  #pluggable(what: string): Machine {
    const { id, status, refuseUnheard } = this.#guest;
    refuseUnheard();
    const machine = this.#guest.machine();
    const { state } = status();
    if (machine !== undefined && state === 'running') return machine;
    throw new TapyardError('GUEST_STATE', `${id} is ${state} and cannot be given ${what}.`, {
      hint: 'Do it while it runs, or is shut off.',
      subject: id,
    });
  }
}
