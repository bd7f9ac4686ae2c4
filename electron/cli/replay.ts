// SPDX-License-Identifier: Apache-2.0

/*
 * Questions that a program asks its terminal: CSI … n (DSR: where is the cursor?), CSI … c (DA: what are you?),
 * CSI … R-less reports by CSI … x (DECREQTPARM), ESC Z (DECID), OSC … ? (colours), DCS $ q (DECRQSS), ENQ.
 * BusyBox's shell asks for the cursor at every prompt.
 */
const questions =
  // oxlint-disable-next-line no-control-regex -- escape sequences are what this is about
  /\u001b\[[>=?0-9;]*[nc]|\u001b\[[01]?x|\u001bZ|\u001b\][0-9;]*\?(?:\u0007|\u001b\\)|\u001bP[$+]q[^\u001b]*\u001b\\|\u0005/g;

/**
 * Scrollback without the questions in it. They were answered when they were new; answered again, the
 * terminal would type the answer into the guest's shell. Bytes in, bytes out (Latin-1 keeps each as it is).
 */
export function withoutQuestions(scrollback: Uint8Array): Uint8Array {
  return Buffer.from(Buffer.from(scrollback).toString('latin1').replace(questions, ''), 'latin1');
}
