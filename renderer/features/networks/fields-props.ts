// SPDX-License-Identifier: Apache-2.0
import type { FieldName, NetworkForm } from './network-form.ts';

/** What every part of the form is given. */
export interface FieldsProps {
  readonly form: NetworkForm;
  /** What is wrong with a field, once it has been touched. */
  readonly shown: (field: FieldName) => string | undefined;
  readonly set: (field: FieldName, next: NetworkForm) => void;
}
