// SPDX-License-Identifier: Apache-2.0
import { TapyardError } from '../../contract/error.ts';
import type { Scope } from '../../contract/names.ts';
import type { Job } from '../host/jobs.ts';
import type { Engine } from './engine.ts';
import type { ResolvedNetwork } from './resolve.ts';

/** What a lab that is up gives to its move to another scope. */
export interface MoveGround {
  readonly lab: string;
  /** The scope that it is in. */
  readonly former: Scope;
  /** An engine for a scope, beside the lab's own. */
  readonly engine: (scope: Scope) => Engine;
  readonly down: (job: Job) => Promise<void>;
  readonly up: (job: Job) => Promise<void>;
  /** Of the lab that is down. */
  readonly changeScope: (scope: Scope) => Promise<void>;
  /** Told before anything is made in the scope that it is to be in, and, with none, when it stays where it is. */
  readonly movesTo: (scope: Scope | undefined) => Promise<void>;
  /** Ends what serves the lab's networks in the scope that it is in by now. */
  readonly release: () => Promise<void>;
}

/**
 * Throws MODE_NEEDS_HOST_SCOPE where the lab has a network that the scope cannot carry: known before anybody is
 * asked for anything, or any guest is shut down.
 */
export function checkModes(lab: string, networks: readonly ResolvedNetwork[], scope: Scope): void {
  const [network] = networks.filter(({ mode }) => mode === 'routed' || mode === 'bridged');
  if (scope === 'host' || network === undefined) return;
  throw new TapyardError(
    'MODE_NEEDS_HOST_SCOPE',
    `The network ${network.name} of ${lab} is ${network.mode}, which needs the host scope. Nothing was changed.`,
    { hint: `Give ${network.name} mode: nat in the lab file, then move the lab.`, subject: network.name },
  );
}

/**
 * Takes a lab that is up to another scope. Rejects with nothing changed where that scope is not to be had; where
 * the lab cannot be brought up there, it is brought up again where it was.
 */
export async function moveScope(ground: MoveGround, job: Job, scope: Scope): Promise<void> {
  const { former } = ground;
  job.progress(`asking for the ${scope} scope`, 0, 0);
  // Whoever comes after a core that is killed here has to know of a netd that serves nobody.
  await ground.movesTo(scope);
  const next = ground.engine(scope);
  try {
    const { started } = await next.open(job.asks);
    try {
      // The question may have stood for minutes, and have been answered after nobody wanted it any more.
      if (job.signal.aborted) throw stopped(ground.lab);
      await ground.down(job);
    } catch (thrown) {
      // A netd that nobody needs now would stay for ever.
      if (started) await next.release().catch(() => undefined);
      throw thrown;
    }
  } catch (thrown) {
    await ground.movesTo(undefined);
    throw thrown;
  } finally {
    next.close();
    next.tidy();
  }
  await ground.changeScope(scope);
  try {
    await ground.up(job);
  } catch (thrown) {
    await ground.release().catch(() => undefined);
    await ground.changeScope(former);
    // Back where it was, cancelled or not. The reason is what went wrong there; how it is here its row tells.
    const back: Job = {
      id: job.id,
      signal: new AbortController().signal,
      progress: (doing, done, total) => job.progress(doing, done, total),
      asks: (text) => job.asks(text),
    };
    await ground.up(back).catch(() => undefined);
    throw thrown;
  }
}

function stopped(lab: string): TapyardError {
  return new TapyardError('ABORTED', `The move of ${lab} was stopped before anything was changed.`, {
    hint: 'Move it again when you want.',
    subject: lab,
  });
}
