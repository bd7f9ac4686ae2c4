// SPDX-License-Identifier: Apache-2.0
import { describe } from 'vitest';
import { mainJob } from './main-job.ts';

describe('the main job as root, in the host scope', () => mainJob('host'));
