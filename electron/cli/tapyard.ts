#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
import process from 'node:process';
import { main } from './main.ts';

// `tapyard ls | head -1` closes our stdout: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

process.exitCode = await main(process.argv.slice(2));
// All is closed by now and the process ends by itself; a handle that somebody forgot must not keep it.
setTimeout(() => process.exit(), 2000).unref();
