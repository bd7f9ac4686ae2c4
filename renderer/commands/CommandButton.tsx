// SPDX-License-Identifier: Apache-2.0
import type { ReactElement } from 'react';
import { Button, type ButtonProps } from '../lib/Button.tsx';
import type { Subject } from '../store/subject.ts';
import { useCommand } from './use-command.ts';

interface CommandButtonProps extends Pick<ButtonProps, 'variant' | 'size' | 'iconOnly' | 'className'> {
  readonly id: string;
  readonly subject?: Subject | null;
  /** What stands on the button, where the place already says on what: "Start" beside a guest's name. */
  readonly text?: string | undefined;
  readonly withIcon?: boolean;
}

/** A button for a command. It says "Starting…" until the state is observed, and why when it cannot be pressed. */
export function CommandButton(props: CommandButtonProps): ReactElement {
  const { id, subject = null, text, withIcon, iconOnly, ...rest } = props;
  const { command, label, unavailable, pendingWord, run } = useCommand(id, subject);
  const Icon = command.icon;
  const tip = iconOnly || text !== undefined ? label : undefined;
  const shortcut = command.shortcut === undefined ? '' : ` (${command.shortcut})`;
  return (
    <Button
      {...rest}
      {...(iconOnly ? { iconOnly } : {})}
      aria-label={pendingWord === undefined ? label : `${label}: ${pendingWord}`}
      unavailable={pendingWord ?? unavailable}
      tip={tip === undefined ? undefined : `${tip}${shortcut}`}
      onPress={run}
    >
      {withIcon || iconOnly ? <Icon aria-hidden /> : null}
      {iconOnly ? null : (pendingWord ?? text ?? label)}
    </Button>
  );
}
