// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import { startCore } from '../cli/start-core.ts';
import { runApplication } from './application.ts';

// Built to dist/shell/main.cjs, with the preload beside it.
runApplication(join(import.meta.dirname, 'preload.cjs'), startCore);
