// SPDX-License-Identifier: Apache-2.0

import { duration, lastLines, StepError } from '../lib/step.mjs';
import { packagesStep } from './debian.mjs';
import { electronStep } from './electron.mjs';
import { coreStep, microStep, npmStep, rendererStep, rustStep } from './steps.mjs';

/** What a checkout can be made ready for. */
export const PURPOSES = ['start', 'test', 'bench'];

/**
 * Runs the steps of one purpose in order and stops at the first that fails.
 *
 * @param {object} options
 * @param {string} options.purpose start, test or bench
 * @param {boolean} [options.dryRun] only say what would be done
 * @returns {Promise<boolean>} whether all is there
 */
export async function setUp({ purpose, dryRun = false }) {
  // A checkout that root set up must be readable for the user who runs it.
  const umask = process.umask(0o022);
  const rust = rustStep();
  const steps = [
    packagesStep(purpose, () => !('done' in rust.plan())),
    npmStep(),
    rust,
    microStep(),
    coreStep(),
    rendererStep(),
    ...(purpose === 'start' ? [electronStep()] : []),
  ];
  const began = performance.now();
  try {
    for (const step of steps) {
      if (!(await runStep(step, dryRun))) return false;
    }
  } finally {
    process.umask(umask);
  }
  say('set-up', dryRun ? 'nothing was changed' : 'ready', performance.now() - began);
  return true;
}

async function runStep(step, dryRun) {
  const began = performance.now();
  try {
    const plan = await step.plan();
    if ('done' in plan) {
      say(step.title, plan.done, performance.now() - began);
      return true;
    }
    say(step.title, dryRun ? `${plan.why}; would do:` : `${plan.why}, so:`);
    for (const line of plan.what) say('', line);
    if (!dryRun) say(step.title, await plan.act(), performance.now() - began);
    return true;
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    console.error(`\n${step.title}: ${error.message}`);
    if (error.output) console.error(`\n${lastLines(error.output)}`);
    if (error.hint) console.error(`\n${error.hint}`);
    return false;
  }
}

function say(title, text, ms) {
  console.log(`${title.padEnd(17)} ${text}${ms === undefined ? '' : `  (${duration(ms)})`}`);
}
