// SPDX-License-Identifier: Apache-2.0
import { addCommands } from './command.ts';
import { cableCommands } from './cable.ts';
import { guestCommands } from './guest.ts';
import { labCommands } from './lab.ts';
import { mapCommands } from './map.ts';
import { networkCommands } from './network.ts';
import { windowCommands } from './window.ts';

// The one table of commands, in the order of the palette and the shortcuts sheet.
addCommands([
  ...labCommands,
  ...guestCommands,
  ...networkCommands,
  ...cableCommands,
  ...mapCommands,
  ...windowCommands,
]);
