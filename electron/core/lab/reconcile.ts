// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../../contract/error.ts';
import type { Job } from '../host/jobs.ts';
import { networkIn, type Picture } from '../net/picture.ts';
import type { Engine, GuestHandle } from './engine.ts';
import { planUp, type PlanStep } from './plan.ts';
import type { ResolvedLab, ResolvedNetwork } from './resolve.ts';
import type { StepOutcome } from './step-records.ts';

/** How long `down` waits for guests that were asked to shut down, ms. */
const politeDeadline = 20_000;
/** QEMUs that are started at the same time; more only wait for each other. */
const startsAtOnce = 4;

/** What of a guest is needed here. */
export type Startable = Pick<GuestHandle, 'start' | 'stop' | 'forceOff' | 'plug' | 'unplug' | 'onChange'> & {
  readonly status: Pick<GuestHandle['status'], 'state' | 'pid' | 'taps'>;
};

/** What a lab gives to the work of bringing it up or down. */
export interface Ground {
  readonly lab: ResolvedLab;
  readonly engine: Pick<
    Engine,
    'picture' | 'onChange' | 'open' | 'applyNetwork' | 'removeNetwork' | 'setShape' | 'release' | 'tidy'
  >;
  readonly guests: ReadonlyMap<string, Startable>;
  /** Rejects with what can be known to be missing before anything is made. */
  readonly preflight: () => Promise<void>;
  /** What was applied last by this core, by network; kept up to date here. */
  readonly applied: Map<string, ResolvedNetwork>;
  /** Tells how it goes with a recipe's step: its id without the lab. */
  readonly step: (id: string, outcome: StepOutcome) => void;
}

/** What one `up` has made or changed, and would take back. */
interface Made {
  /** Nothing of the lab was there before. */
  opened: boolean;
  readonly networks: string[];
  /** Networks as they were before they were changed or removed, where this core knows it. */
  readonly formers: ResolvedNetwork[];
  readonly guests: Startable[];
  /** How NICs that were plugged go again, and those that were shaped are as before. */
  readonly plugged: (() => Promise<void>)[];
  /** How NICs that were unplugged come again. */
  readonly unplugged: (() => Promise<void>)[];
}

/**
 * Makes the kernel and QEMU hold what the lab wants, doing only what is missing. On failure and on abort
 * everything that this call made is undone, and what was there before stays. Rejects with the failure, ABORTED.
 */
export async function bringUp(ground: Ground, job: Job, waitReachable: number): Promise<void> {
  const made: Made = nothingMade();
  try {
    await ground.preflight();
    stopIfAborted(job);
    job.progress('making the network ready', 0, 0);
    ground.step('namespace', 'doing');
    const { started } = await ground.engine.open(job.asks);
    const { picture } = ground.engine;
    // In the host scope netd may have been there for other labs.
    made.opened = started || !hasNetworks(ground.lab.name, picture);
    stopIfAborted(job);
    const states = new Map([...ground.guests].map(([name, guest]) => [name, guest.status]));
    const plan = planUp(ground.lab, { picture, guests: states, applied: ground.applied });
    const oldLeases = leasesOf(ground);
    await runPlan(ground, job, plan, made);
    if (waitReachable > 0) await waitForLeases(ground, job, { made, oldLeases, deadline: waitReachable });
    job.progress('up', plan.length, plan.length);
  } catch (thrown) {
    const error = job.signal.aborted ? aborted(ground.lab.name) : TapyardError.from(thrown);
    job.progress(job.signal.aborted ? 'undoing what was begun' : 'undoing what was made', 0, 0);
    const left = await undo(ground, made);
    throw left.length === 0 ? error : notUndone(error, ground.lab.name, left);
  }
}

async function runPlan(ground: Ground, job: Job, plan: readonly PlanStep[], made: Made): Promise<void> {
  let done = 0;
  const after = (): void =>
    job.progress(job.signal.aborted ? 'stopping' : 'making the lab', ++done, plan.length);
  for (const step of plan) {
    stopIfAborted(job);
    if (step.kind === 'remove') {
      job.progress(`removing network ${step.network}`, done, plan.length);
      await ground.engine.removeNetwork(step.network);
      remember(ground, step.network, made);
      ground.applied.delete(step.network);
      after();
    } else if (step.kind === 'apply') {
      job.progress(`making network ${step.network.name}`, done, plan.length);
      await apply(ground, step.network, step.isNew, made);
      after();
    } else if (step.kind === 'shape') {
      job.progress(`shaping a NIC of ${step.guest}`, done, plan.length);
      const { network, guest, nic, from, to } = step;
      await ground.engine.setShape(network, guest, nic, to);
      made.plugged.push(async () => {
        await ground.engine.setShape(network, guest, nic, from);
      });
      after();
    } else if (step.kind !== 'start') {
      job.progress(
        `${step.kind === 'plug' ? 'plugging' : 'unplugging'} a NIC of ${step.guest}`,
        done,
        plan.length,
      );
      await changeNic(ground, step, made);
      after();
    }
  }
  const starts = plan.flatMap((step) => (step.kind === 'start' ? [step.guest.name] : []));
  const one = async (): Promise<void> => {
    for (let name = starts.shift(); name !== undefined; name = starts.shift()) {
      stopIfAborted(job);
      job.progress(`starting ${name}`, done, plan.length);
      await startGuest(ground, name, job, made);
      after();
    }
  };
  // All are waited for, so that none is still starting while the others are undone.
  const results = await Promise.allSettled(Array.from({ length: startsAtOnce }, one));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw TapyardError.from(failed.reason);
}

/** Makes or mends one network of a lab that is up, and tells of its steps. */
export function makeNetwork(ground: Ground, network: ResolvedNetwork): Promise<void> {
  return apply(ground, network, false, nothingMade());
}

async function apply(ground: Ground, network: ResolvedNetwork, isNew: boolean, made: Made): Promise<void> {
  const { name } = network;
  const ids = ['bridge', 'bridge_address', 'bridge_up', 'forwarding', 'filter', 'dns'];
  for (const id of ids) ground.step(`${name}/${id}`, 'doing');
  try {
    const steps = await ground.engine.applyNetwork(network);
    if (isNew) made.networks.push(name);
    else remember(ground, name, made);
    ground.applied.set(name, network);
    for (const step of steps) ground.step(`${name}/${step.id}`, step.changed ? { ms: step.ms } : {});
  } catch (thrown) {
    const error = TapyardError.from(thrown).toData();
    // It did not answer, and may have made it all the same, now or in a moment.
    if (['DEADLINE', 'NETD_FAILED'].includes(error.code)) {
      if (isNew) made.networks.push(name);
      else remember(ground, name, made);
    }
    // netd undoes the whole network and does not say at which step it was; dnsmasq's failures name themselves.
    const failed = error.code.startsWith('DNSMASQ') ? 'dns' : 'bridge';
    for (const id of ids) ground.step(`${name}/${id}`, id === failed ? { error } : 'pending');
    throw thrown;
  }
}

/** Keeps a network as it was applied before this `up` changed it. */
function remember({ applied }: Ground, name: string, made: Made): void {
  const former = applied.get(name);
  if (former) made.formers.push(former);
}

function hasNetworks(lab: string, picture: Picture | null): boolean {
  return [...(picture?.networks.values() ?? [])].some((network) => network.lab === lab);
}

async function startGuest(ground: Ground, name: string, job: Job, made: Made): Promise<void> {
  const guest = ground.guests.get(name);
  if (!guest) return;
  made.guests.push(guest);
  ground.step(`${name}/qemu`, 'doing');
  try {
    await guest.start({ signal: job.signal });
    ground.step(`${name}/qemu`, {});
  } catch (thrown) {
    ground.step(`${name}/qemu`, { error: TapyardError.from(thrown).toData() });
    throw thrown;
  }
}

/** Plugs or unplugs a NIC of a guest that runs. */
async function changeNic(
  { guests, step: tell }: Ground,
  step: Extract<PlanStep, { kind: 'plug' | 'unplug' }>,
  made: Made,
): Promise<void> {
  const guest = guests.get(step.guest);
  if (!guest) return;
  if (step.kind === 'unplug') {
    await guest.unplug(step.tap);
    made.unplugged.push(() => guest.plug(step.tap));
    return;
  }
  const id = `${step.guest}/${step.nic.index}/plug`;
  tell(id, 'doing');
  try {
    await guest.plug(step.nic);
    made.plugged.push(() => guest.unplug(step.nic));
    tell(id, {});
  } catch (thrown) {
    tell(id, { error: TapyardError.from(thrown).toData() });
    throw thrown;
  }
}

/** When each lease of the lab expires, by MAC: a guest that boots again renews the one that it had. */
function leasesOf({ lab, engine }: Ground): ReadonlyMap<string, number> {
  const networks = lab.networks.map(({ name }) => networkIn(engine.picture, lab.name, name));
  return new Map(
    networks.flatMap((network) => network?.leases ?? []).map((lease) => [lease.mac, lease.expires]),
  );
}

/** Waits until each guest that runs has a lease on every network with DHCP. Running out of time is no failure. */
async function waitForLeases(
  ground: Ground,
  job: Job,
  { made, oldLeases, deadline }: { made: Made; oldLeases: ReadonlyMap<string, number>; deadline: number },
): Promise<void> {
  const { lab, engine, guests } = ground;
  const missing = (): string[] => {
    const leases = leasesOf(ground);
    const hasDhcp = new Set(lab.networks.filter((network) => network.dhcp).map((network) => network.name));
    return lab.guests
      .filter(({ name, nics }) => {
        const guest = guests.get(name);
        if (guest?.status.state !== 'running') return false;
        const fresh = made.guests.includes(guest);
        return nics.some(({ network, mac }) => {
          const expires = leases.get(mac);
          return hasDhcp.has(network) && (expires === undefined || (fresh && expires === oldLeases.get(mac)));
        });
      })
      .map((guest) => guest.name);
  };
  if (missing().length === 0) return;
  await new Promise<void>((resolve) => {
    const subscriptions = [
      engine.onChange(() => look()),
      ...[...guests.values()].map((guest) => guest.onChange(() => look())),
    ];
    const finish = (): void => {
      clearTimeout(timer);
      job.signal.removeEventListener('abort', finish);
      for (const subscription of subscriptions) subscription.close();
      resolve();
    };
    const look = (): void => {
      const names = missing();
      if (names.length === 0) finish();
      else job.progress(`waiting for an address of ${names.join(', ')}`, 0, 0);
    };
    const timer = setTimeout(finish, deadline);
    job.signal.addEventListener('abort', finish);
    look();
  });
  stopIfAborted(job);
}

const nothingMade = (): Made => ({
  opened: false,
  networks: [],
  formers: [],
  guests: [],
  plugged: [],
  unplugged: [],
});

/** Takes back what one `up` made, in the reverse order, past errors; why something is left. */
async function undo({ engine, applied }: Ground, made: Made): Promise<TapyardError[]> {
  const left: TapyardError[] = [];
  const past = async (work: Promise<void>): Promise<void> => {
    await work.catch((thrown: unknown) => left.push(TapyardError.from(thrown)));
  };
  await Promise.all(made.guests.map((guest) => past(guest.forceOff())));
  for (const unplug of made.plugged.toReversed()) await past(unplug());
  for (const name of made.networks) applied.delete(name);
  if (made.opened) await past(engine.release());
  else {
    for (const name of made.networks.toReversed()) await past(engine.removeNetwork(name));
    for (const former of made.formers.toReversed()) {
      applied.delete(former.name);
      await past(engine.applyNetwork(former).then(() => void applied.set(former.name, former)));
    }
  }
  for (const plug of made.unplugged.toReversed()) await past(plug());
  if (!engine.picture) engine.tidy();
  return left;
}

/** Why an `up` failed or was stopped, and that not all of it could be taken back. */
function notUndone(error: TapyardError, lab: string, left: readonly TapyardError[]): TapyardError {
  const { code, message, subject } = error.toData();
  const what = code === 'ABORTED' ? `Bringing ${lab} up was stopped.` : message;
  return TapyardError.fromData({
    code,
    message: [`${what} Not all that it had made could be undone:`, ...left.map((each) => each.message)].join(
      '\n',
    ),
    hint: 'Remove what is left: tapyard down.',
    ...(subject === undefined ? {} : { subject }),
  });
}

/**
 * Ends the guests (asked first, then forced; with `force` at once), the networks, and what served them.
 * Rejects with what is left.
 */
export async function bringDown(ground: Ground, job: Job, force: boolean): Promise<void> {
  const { engine, guests, applied } = ground;
  // All of them: one whose start has only begun shows nothing yet, and `stop` waits for it.
  const all = [...guests.values()];
  const alive = all.filter((guest) => guest.status.pid !== null || guest.status.state === 'starting');
  let off = 0;
  job.progress(alive.length === 0 ? 'removing the network' : 'shutting the guests down', 0, alive.length + 1);
  const results = await Promise.allSettled(
    all.map(async (guest) => {
      await guest.stop(force ? 0 : politeDeadline);
      if (!alive.includes(guest)) return;
      job.progress('shutting the guests down', ++off, alive.length + 1);
    }),
  );
  job.progress('removing the network', alive.length, alive.length + 1);
  applied.clear();
  await engine.release();
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw TapyardError.from(failed.reason);
  job.progress('down', alive.length + 1, alive.length + 1);
}

function stopIfAborted(job: Job): void {
  if (job.signal.aborted) throw aborted('');
}

function aborted(lab: string): TapyardError {
  return new TapyardError('ABORTED', `Bringing ${lab} up was stopped, and what it had made is undone.`, {
    hint: 'Bring it up again when you want.',
    subject: lab,
  });
}
