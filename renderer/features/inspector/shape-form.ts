// SPDX-License-Identifier: Apache-2.0
import {
  Delay,
  jitterProblem,
  Jitter,
  Loss,
  Rate,
  type ShapeDefinition,
} from '../../../electron/contract/shape.ts';
import type { z } from '../../../electron/contract/zod.ts';

/** What is typed into the form of a shape; empty is none. */
export type ShapeForm = Readonly<Record<'rate' | 'delay' | 'jitter' | 'loss', string>>;

const schemas: Readonly<Record<keyof ShapeForm, z.ZodType>> = {
  rate: Rate,
  delay: Delay,
  jitter: Jitter,
  loss: Loss,
};

/** The form of a shape. */
export const shapeForm = ({ rate = '', delay = '', jitter = '', loss = '' }: ShapeDefinition): ShapeForm => ({
  rate,
  delay,
  jitter,
  loss,
});

/** The shape of a form. */
export const formShape = (form: ShapeForm): ShapeDefinition =>
  Object.fromEntries(Object.entries(form).filter(([, value]) => value !== ''));

/** What is wrong with one field by itself. */
function wrong(form: ShapeForm, field: keyof ShapeForm): string | undefined {
  const read = form[field] === '' ? undefined : schemas[field].safeParse(form[field]);
  const message = read?.error?.issues[0]?.message;
  return message === undefined ? undefined : `Not ${message}.`;
}

/** What is wrong, by field. */
export function shapeErrors(form: ShapeForm): { readonly [Field in keyof ShapeForm]?: string } {
  const [rate, delay, loss] = [wrong(form, 'rate'), wrong(form, 'delay'), wrong(form, 'loss')];
  // Without a good delay there is nothing to compare a jitter with.
  const problem = delay === undefined ? jitterProblem(formShape(form)) : undefined;
  const jitter =
    wrong(form, 'jitter') ?? (problem && `${problem.slice(0, 1).toUpperCase()}${problem.slice(1)}.`);
  return {
    ...(rate === undefined ? {} : { rate }),
    ...(delay === undefined ? {} : { delay }),
    ...(jitter === undefined ? {} : { jitter }),
    ...(loss === undefined ? {} : { loss }),
  };
}
