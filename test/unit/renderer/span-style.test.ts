// SPDX-License-Identifier: Apache-2.0
// @vitest-environment happy-dom
import { expect, it } from 'vitest';
import { styleByObject } from '../../../renderer/features/consoles/span-style.ts';

// happy-dom writes a style object's text by setAttribute, so the two ways are told apart on an element that only
// inherits from what was changed. That Chromium takes it under the page's policy is seen in the browser tests.
it('styles through the style object, and sets everything else as ever', () => {
  const style = document.createElement('i').style;
  const span = document.createElement('span');
  const changed = { style, setAttribute: (name: string, value: string) => span.setAttribute(name, value) };
  styleByObject(changed);
  changed.setAttribute('style', 'color: red;');
  expect(style.color).toBe('red');
  expect(span.getAttribute('style')).toBe(null);
  styleByObject(Object.getPrototypeOf(span));
  span.setAttribute('title', 'x');
  expect(span.getAttribute('title')).toBe('x');
});
