// SPDX-License-Identifier: Apache-2.0
import process from 'node:process';
import type { Connection } from '../contract/client.ts';
import { TapyardError } from '../contract/error.ts';
import type { JobRow, StepRow } from '../contract/rows.ts';
import { Mirror } from './mirror.ts';
import { duration, safeLine, type Terminal } from './terminal.ts';

/** Longest that a job is followed, ms: an `up` with every wait in it, and room. */
const jobDeadline = 900_000;

/** Shows a job as it goes on: a line for each step, the last one rewritten where that can be. */
export class Progress {
  readonly #terminal: Terminal;
  readonly #told = new Map<string, StepRow['state']>();
  #live = '';
  #asked: string | null = null;

  /** `before` are the steps as they were: what held already is not told again. */
  constructor(terminal: Terminal, before: readonly StepRow[]) {
    this.#terminal = terminal;
    for (const step of before) this.#told.set(step.id, step.state);
  }

  step(step: StepRow): void {
    const told = this.#told.get(step.id);
    this.#told.set(step.id, step.state);
    if (step.state === told) return;
    if (step.state === 'done' && told !== undefined) this.#line(`✓ ${step.title}${time(step)}`);
    else if (step.state === 'failed') this.#line(`✗ ${step.title}${time(step)}`);
  }

  doing(text: string): void {
    if (!this.#terminal.interactive || text === '' || text === this.#live) return;
    this.#live = text;
    const line = `… ${safeLine(text)}`.slice(0, this.#terminal.columns - 1);
    this.#terminal.err(`\r\u001b[K${line}`);
  }

  /** What the user is about to be asked elsewhere: a line of its own, terminal or not. */
  asks(text: string | null): void {
    if (text === this.#asked) return;
    this.#asked = text;
    if (text !== null) this.#line(text);
  }

  end(): void {
    if (this.#live !== '') this.#terminal.err('\r\u001b[K');
    this.#live = '';
  }

  #line(text: string): void {
    this.end();
    this.#terminal.err(`${safeLine(text)}\n`);
  }
}

const time = (step: StepRow): string => (step.ms === null ? '' : `  ${duration(step.ms)}`);

/** How a job ended: as its last row says, or interrupted by the user and undone. */
export type JobEnd = { readonly row: JobRow; readonly interrupted: boolean };

/**
 * Starts a job of `lab`, shows its progress on stderr and waits for its end. With `cancellable`, Ctrl+C
 * (or SIGTERM) cancels it and waits until the core has undone it; a second Ctrl+C leaves at once.
 * @throws TapyardError what starting it throws; CORE_UNREACHABLE, DEADLINE
 */
export async function runJob(
  connection: Connection,
  terminal: Terminal,
  lab: string,
  start: () => Promise<{ job: string }>,
  options: { cancellable: boolean },
): Promise<JobEnd> {
  const { client } = connection;
  const jobs = await Mirror.open(connection, client.tables.jobs);
  const steps = await Mirror.open(connection, client.tables.steps);
  const ofLab = (): StepRow[] =>
    steps
      .list()
      .filter((step) => step.lab === lab)
      .sort((left, right) => left.order - right.order);
  const progress = new Progress(terminal, ofLab());
  let job: string | undefined;
  let interrupts = 0;
  const cancel = (): void => {
    if (job === undefined || interrupts === 0) return;
    client.job.cancel({ job }).catch(() => undefined);
  };
  const interrupt = (): void => {
    interrupts += 1;
    progress.end();
    if (interrupts > 1) {
      terminal.err('tapyard: left while undoing; run tapyard down to remove what is left.\n');
      process.exit(130);
    }
    terminal.err('Cancelling; what was done is being undone. Ctrl+C again leaves at once.\n');
    cancel();
  };
  const signals = options.cancellable ? (['SIGINT', 'SIGTERM', 'SIGHUP'] as const) : [];
  for (const name of signals) process.on(name, interrupt);
  steps.onChange(() => ofLab().forEach((step) => progress.step(step)));
  jobs.onChange(() => {
    // What is asked comes before the job's name does; a lab has one job at a time.
    const row = jobs
      .list()
      .find(({ id, lab: of, state }) => id === job || (of === lab && state === 'running'));
    if (row?.state !== 'running') return;
    progress.asks(row.asks);
    progress.doing(row.doing);
  });
  try {
    ({ job } = await start());
    const id = job;
    // Ctrl+C may have come before the job had a name.
    cancel();
    const ended = await jobs.until((rows) => {
      const row = rows.find((each) => each.id === id);
      return row === undefined || row.state === 'running' ? undefined : row;
    }, jobDeadline);
    progress.end();
    if (ended === undefined) {
      throw new TapyardError(
        'DEADLINE',
        `The work on lab ${lab} did not end within ${jobDeadline / 60_000} min.`,
        {
          hint: 'It goes on in the core; look with: tapyard ls',
          subject: lab,
        },
      );
    }
    return { row: ended, interrupted: interrupts > 0 };
  } finally {
    progress.end();
    for (const name of signals) process.off(name, interrupt);
    jobs.close();
    steps.close();
  }
}

/**
 * Throws what a job failed with.
 * @throws TapyardError the job's own error; ABORTED where somebody else cancelled it
 */
export function jobDone(row: JobRow): void {
  if (row.state === 'done') return;
  if (row.error !== null) throw TapyardError.fromData(row.error);
  const what = row.state === 'cancelled' ? 'was cancelled' : 'failed';
  throw new TapyardError(row.state === 'cancelled' ? 'ABORTED' : 'INTERNAL', `${row.name} ${what}.`);
}
