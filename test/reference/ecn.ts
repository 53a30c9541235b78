/** RFC 6040 figure 4: how the ECN field of the inner and of the outer header combine at the end of a tunnel. */

export const NOT_ECT = 0;
export const ECT1 = 1;
export const ECT0 = 2;
export const CE = 3;
export const ECN_NAMES: readonly string[] = ['Not-ECT', 'ECT(1)', 'ECT(0)', 'CE'];

/** Instead of an outgoing field. */
export const ECN_DROP = -1;

/** Row by row: arriving inner, arriving outer, outgoing. */
export const ECN_FIGURE_4: readonly (readonly [inner: number, outer: number, outgoing: number])[] = [
  [NOT_ECT, NOT_ECT, NOT_ECT],
  [NOT_ECT, ECT0, NOT_ECT],
  [NOT_ECT, ECT1, NOT_ECT],
  [NOT_ECT, CE, ECN_DROP],
  [ECT0, NOT_ECT, ECT0],
  [ECT0, ECT0, ECT0],
  [ECT0, ECT1, ECT1],
  [ECT0, CE, CE],
  [ECT1, NOT_ECT, ECT1],
  [ECT1, ECT0, ECT1],
  [ECT1, ECT1, ECT1],
  [ECT1, CE, CE],
  [CE, NOT_ECT, CE],
  [CE, ECT0, CE],
  [CE, ECT1, CE],
  [CE, CE, CE],
];
