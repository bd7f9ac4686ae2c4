// SPDX-License-Identifier: Apache-2.0
import { promisify } from 'node:util';

/* Node 12 has no such module. */
export const setTimeout = promisify(globalThis.setTimeout);
