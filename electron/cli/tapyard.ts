#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
import process from 'node:process';
import { main } from './main.ts';

// `tapyard ls | head -1` closes our stdout: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

const status = await main(process.argv.slice(2));
// The core is closed; what it may still be looking at (whether a guest that it let go has ended) must not keep
// the command. Not before what was written has left.
process.stdout.write('', () => process.exit(status));
