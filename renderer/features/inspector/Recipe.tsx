// SPDX-License-Identifier: Apache-2.0
import { memo, useDeferredValue, useState, type ReactElement } from 'react';
import { CommandButton } from '../../commands/CommandButton.tsx';
import { CopyButton } from '../../lib/CopyButton.tsx';
import { ErrorNote } from '../../lib/ErrorNote.tsx';
import { cx } from '../../lib/class-names.ts';
import type { Row } from '../../store/tables.ts';
import styles from './Recipe.module.css';
import { Section } from './Section.tsx';
import { stepLine, stepMark, stepTime } from './recipe-words.ts';

/** What Tapyard does, as the commands that would do the same, and whether the kernel holds each now. */
export function Recipe({
  steps,
  lab,
}: {
  readonly steps: readonly Row<'steps'>[];
  readonly lab: string;
}): ReactElement {
  // A big lab has thousands of steps: a screenful at once, the rest when there is time.
  const shown = useDeferredValue(steps, steps.slice(0, 40));
  const holding = steps.filter((step) => stepMark(step).tone === 'good').length;
  return (
    <Section
      title="Recipe"
      action={
        <CommandButton
          id="recipe.copy"
          subject={{ kind: 'lab', id: lab }}
          text="Copy as script"
          size="small"
          variant="accent"
        />
      }
    >
      {steps.length === 0 ? (
        <p className={styles.none}>Nothing to do: the lab file asks for nothing here.</p>
      ) : (
        <>
          <p className="visually-hidden">
            {holding} of {steps.length} steps hold now.
          </p>
          <ol className={styles.recipe}>
            {shown.map((step) => (
              <Step key={step.id} step={step} />
            ))}
          </ol>
        </>
      )}
    </Section>
  );
}

const Step = memo(function Step({ step }: { readonly step: Row<'steps'> }): ReactElement {
  const [open, setOpen] = useState(false);
  const { mark, word, tone } = stepMark(step);
  return (
    <li className={styles[tone]}>
      <button
        type="button"
        className={styles.line}
        aria-expanded={open}
        title={`${step.title}: ${word}`}
        onClick={() => setOpen(!open)}
      >
        <span className={styles.mark} role="img" aria-label={word}>
          {mark}
        </span>
        <span className={styles.command}>{stepLine(step)}</span>
        <span className={styles.time}>{stepTime(step)}</span>
      </button>
      {open ? (
        <div className={styles.full}>
          <p>
            {step.title}: {word}
          </p>
          <div className={styles.block}>
            <pre>{step.command}</pre>
            <CopyButton what="the command" text={step.command} />
          </div>
        </div>
      ) : null}
      {step.error ? (
        <div className={cx(styles.error)}>
          <ErrorNote error={step.error} />
        </div>
      ) : null}
    </li>
  );
});
