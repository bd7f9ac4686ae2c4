// SPDX-License-Identifier: Apache-2.0

/*
 * What page, preload and shell say to each other until the wire begins on a MessagePort. Plain strings: the
 * preload must stay small and knows no schema.
 */

/** From the page to the preload, and on to the shell: it wants a port to the core. */
export const askForPort = 'tapyard:port?';
/** From the shell to the preload, and on to the page, with the port. */
export const hereIsPort = 'tapyard:port';
/** The last message on a port, from either side: a port's other end does not notice that it was closed. */
export const portClosed = 'tapyard:closed';
