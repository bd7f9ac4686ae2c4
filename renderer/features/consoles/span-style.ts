// SPDX-License-Identifier: Apache-2.0

/*
 * xterm's DOM renderer writes 24-bit colours and the colours of a selection by setAttribute('style', …). The page's
 * policy (`style-src-attr 'none'`) rightly refuses that, since it is how injected markup would be styled, and the
 * colours are lost. The same declarations through the element's style object (CSSOM) are allowed: they cannot come
 * from markup. xterm offers no way to choose, so its cells, which are spans, get the second way for the first.
 */

function setAttributeOrStyle(this: Pick<HTMLElement, 'style'>, name: string, value: string): void {
  if (name === 'style') this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
}

/** Makes what inherits from `prototype` take `style` attributes through its style object. Idempotent. */
export function styleByObject(prototype: Pick<HTMLElement, 'setAttribute' | 'style'>): void {
  prototype.setAttribute = setAttributeOrStyle;
}
