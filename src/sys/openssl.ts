/**
 * The EVP cipher functions of OpenSSL through koffi: those that Node itself is linked with, or exports for its addons
 * when OpenSSL is part of its binary. All pointers are plain numbers, as in libc.ts; the caller answers for them.
 */
import { AppError } from '../core/errors.ts';
import { libc } from './libc.ts';

/** Integer results are 1 for success. Pointers are 0 for NULL. Names and argument order are OpenSSL's. */
export interface Evp {
  /** `process`, or the name of the library they come from. */
  readonly library: string;
  readonly cipherContextNew: () => number;
  /** Wipes and frees; the key goes with it. */
  readonly cipherContextFree: (context: number) => void;
  readonly chacha20Poly1305: () => number;
  readonly encryptInit: (context: number, cipher: number, engine: number, key: number, iv: number) => number;
  readonly encryptUpdate: (
    context: number,
    to: number,
    toSize: number,
    from: number,
    fromSize: number,
  ) => number;
  readonly encryptFinal: (context: number, to: number, toSize: number) => number;
  readonly decryptInit: (context: number, cipher: number, engine: number, key: number, iv: number) => number;
  readonly decryptUpdate: (
    context: number,
    to: number,
    toSize: number,
    from: number,
    fromSize: number,
  ) => number;
  readonly decryptFinal: (context: number, to: number, toSize: number) => number;
  readonly control: (context: number, command: number, size: number, address: number) => number;
}

/** openssl/evp.h: EVP_CTRL_AEAD_GET_TAG and EVP_CTRL_AEAD_SET_TAG. */
export const EVP_CTRL_AEAD_GET_TAG = 0x10;
export const EVP_CTRL_AEAD_SET_TAG = 0x11;

/** `null` stands for the symbols of the process. */
const LIBRARIES: readonly (string | null)[] = [null, 'libcrypto.so.3'];

let found: Evp | undefined;

/** Throws AppError `unavailable` where no library has all functions. */
export function openssl(): Evp {
  found ??= find();
  return found;
}

function find(): Evp {
  const { koffi } = libc();
  let cause: unknown;
  for (const library of LIBRARIES) {
    try {
      return bind(koffi.load(library), library ?? 'process');
    } catch (error) {
      cause = error;
    }
  }
  throw new AppError('unavailable', 'openssl: neither Node nor libcrypto.so.3 offers the EVP functions', {
    cause,
  });
}

/** koffi throws when a symbol is missing. */
function bind(library: ReturnType<ReturnType<typeof libc>['koffi']['load']>, name: string): Evp {
  const context = 'int64_t context';
  const init = `${context}, int64_t cipher, int64_t engine, int64_t key, int64_t iv`;
  const update = `${context}, int64_t to, int64_t toSize, int64_t from, int fromSize`;
  const final = `${context}, int64_t to, int64_t toSize`;
  return {
    library: name,
    cipherContextNew: library.func('int64_t EVP_CIPHER_CTX_new()'),
    cipherContextFree: library.func(`void EVP_CIPHER_CTX_free(${context})`),
    chacha20Poly1305: library.func('int64_t EVP_chacha20_poly1305()'),
    encryptInit: library.func(`int EVP_EncryptInit_ex(${init})`),
    encryptUpdate: library.func(`int EVP_EncryptUpdate(${update})`),
    encryptFinal: library.func(`int EVP_EncryptFinal_ex(${final})`),
    decryptInit: library.func(`int EVP_DecryptInit_ex(${init})`),
    decryptUpdate: library.func(`int EVP_DecryptUpdate(${update})`),
    decryptFinal: library.func(`int EVP_DecryptFinal_ex(${final})`),
    control: library.func(`int EVP_CIPHER_CTX_ctrl(${context}, int command, int size, int64_t address)`),
  };
}
