// SPDX-License-Identifier: Apache-2.0

import { duration, lastLines, StepError } from '../lib/step.mjs';
import { packagesStep } from './debian.mjs';
import { electronStep } from './electron.mjs';
import { firewallsStep } from './firewalls.mjs';
import { libvirtStep } from './libvirt.mjs';
import { newerDebianStep } from './newer-debian.mjs';
import { newerDockerStep } from './newer-docker.mjs';
import { oldElectronStep } from './old-electron.mjs';
import { coreStep, microStep, npmStep, rendererStep, rustStep } from './steps.mjs';
import { stockKernelsStep } from './stock-kernels.mjs';

/** What a checkout can be made ready for. */
export const PURPOSES = ['start', 'test', 'bench'];

/**
 * Runs the steps of one purpose in order. It stops at the first that fails,
 * unless the rest can still be of use: the tests go on with what there is, so
 * that one file that does not build does not hide what else is wrong.
 *
 * @param {object} options
 * @param {string} options.purpose start, test or bench
 * @param {boolean} [options.dryRun] only say what would be done
 * @param {boolean} [options.goOn] go on past a step that fails to build something
 * @returns {Promise<boolean>} whether all is there
 */
export async function setUp({ purpose, dryRun = false, goOn = false }) {
  // A checkout that root set up must be readable for the user who runs it.
  const umask = process.umask(0o022);
  const rust = rustStep();
  const foundations = [packagesStep(purpose, () => !('done' in rust.plan())), npmStep()];
  const builds = [rust, microStep(), coreStep(), rendererStep()];
  const extras = {
    start: [electronStep()],
    test: [firewallsStep(), stockKernelsStep(), newerDebianStep(), newerDockerStep(), oldElectronStep()],
    bench: [libvirtStep(), firewallsStep()],
  }[purpose];
  const began = performance.now();
  let ready = true;
  try {
    for (const step of [...foundations, ...builds, ...extras]) {
      if (await runStep(step, dryRun)) continue;
      // A bench tells by itself what it could not measure.
      if (purpose === 'bench' && extras.includes(step)) continue;
      ready = false;
      if (!goOn || foundations.includes(step)) return false;
    }
  } finally {
    process.umask(umask);
  }
  if (ready) say('set-up', dryRun ? 'nothing was changed' : 'ready', performance.now() - began);
  return ready;
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
