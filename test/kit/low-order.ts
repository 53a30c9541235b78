import { parseBase64 } from '../../src/core/bytes.ts';

/** The public keys of low order that the kernel's netns.sh tries: 0, 1, two points of order 8, p - 1, p, p + 1. */
export const LOW_ORDER_POINTS: readonly Uint8Array[] = [
  'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=',
  'AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=',
  '4Ot6fDtBuK4WVuP68Z/EatoJjeucMrH9hmIFFl9JuAA=',
  'X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEVc=',
  '7P///////////////////////////////////////38=',
  '7f///////////////////////////////////////38=',
  '7v///////////////////////////////////////38=',
].map((text) => parseBase64(text, 32) as Uint8Array);
