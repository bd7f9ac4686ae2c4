// SPDX-License-Identifier: Apache-2.0
import { promises } from 'node:fs';

/* Node 12 has fs.promises, and no module of that name. */
export const { open, readdir, realpath, rename, rm, rmdir, stat, unlink } = promises;
