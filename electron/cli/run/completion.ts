// SPDX-License-Identifier: Apache-2.0
import { commands, type Run } from '../commands.ts';

/** A completion script for bash, made of the table of commands. */
export function bashCompletion(): string {
  const cases = commands.map((command) => {
    const words = [
      ...command.options.map((option) => `--${option.name}`),
      '--help',
      ...Object.values(command.choices ?? {}).flat(),
    ];
    return `    ${command.name}) words="${words.join(' ')}" ;;`;
  });
  return `# Completion of tapyard for bash; made by: tapyard completion bash
_tapyard() {
  local words current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.map((command) => command.name).join(' ')} help" -- "$current"))
    return
  fi
  if [ "$previous" = --scope ]; then
    COMPREPLY=($(compgen -W "private host" -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
    *) words="" ;;
  esac
  if [ "\${COMP_WORDS[1]}" = up ] && [ "\${current#-}" = "$current" ]; then
    COMPREPLY=($(compgen -f -- "$current"))
  else
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  fi
}
complete -o filenames -F _tapyard tapyard
`;
}

export const run: Run = ({ terminal }) => {
  terminal.out(bashCompletion());
  return Promise.resolve(0);
};
