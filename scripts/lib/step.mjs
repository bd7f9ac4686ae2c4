// SPDX-License-Identifier: Apache-2.0

/**
 * Why a step could not be done: what happened, and what the user can do now.
 * `output` holds the last words of the program that failed.
 */
export class StepError extends Error {
  /**
   * @param {string} message
   * @param {{hint?: string, command?: string, output?: string}} [detail]
   */
  constructor(message, { hint, command, output } = {}) {
    super(message);
    this.hint = hint;
    this.command = command;
    this.output = output;
  }
}

/** The last lines of a program's output, without empty ones at the end. */
export function lastLines(output, count = 25) {
  return output.trimEnd().split('\n').slice(-count).join('\n');
}

/** Words of programs that could not reach the network: npm, cargo, apt, git. */
const NO_NETWORK =
  /ENOTFOUND|EAI_AGAIN|ENETUNREACH|ECONNREFUSED|ETIMEDOUT|ERR_SOCKET_TIMEOUT|Could not resolve (?:host|proxy)|Temporary failure resolving|Network is unreachable|Unable to connect|failed to download|Connection timed out|Could not connect/i;

/**
 * What to do about a program that failed, judged by its words.
 *
 * @param {string} output
 * @returns {string | undefined}
 */
export function hintFor(output) {
  if (NO_NETWORK.test(output)) {
    return 'It could not reach the network. Check the connection (or the proxy) and run the same command again.';
  }
  if (/EACCES|Permission denied|EROFS/.test(output)) {
    return 'Files of this checkout belong to somebody else. Run set-up as their owner, or clone a checkout of your own.';
  }
  if (/ENOSPC|No space left/.test(output))
    return 'The disk is full. Make room and run the same command again.';
  return undefined;
}

/** A duration in ms as people read it: 0.3 s, 12 s, 2 min 5 s. */
export function duration(ms) {
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return seconds < 120 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}
