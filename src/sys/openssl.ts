/**
 * Functions of OpenSSL through koffi: those that Node itself is linked with, or exports for its addons when OpenSSL is
 * part of its binary. All pointers are plain numbers, as in libc.ts; the caller answers for them.
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

/**
 * What EVP_chacha20_poly1305 itself calls for the bytes (crypto/chacha.h, crypto/poly1305.h): assembly for this
 * processor without a context, parameters or checks around it. The same in all versions since 1.1.0, but not part of the
 * public interface: who uses them compares answers first.
 */
export interface OpensslPrimitives {
  /** `counter`: block counter and nonce, four 32-bit words. `size` is not 0. */
  readonly chacha20: (to: number, from: number, size: number, key: number, counter: number) => void;
  readonly poly1305Init: (context: number, key: number) => void;
  readonly poly1305Update: (context: number, from: number, size: number) => void;
  /** Wipes the context. */
  readonly poly1305Final: (context: number, tag: number) => void;
  /** Bytes of a context. */
  readonly poly1305Size: () => number;
}

let foundPrimitives: OpensslPrimitives | undefined;

/** Throws AppError `unavailable` where they are not to be had: a libcrypto.so hides them. */
export function opensslPrimitives(): OpensslPrimitives {
  foundPrimitives ??= findPrimitives();
  return foundPrimitives;
}

function findPrimitives(): OpensslPrimitives {
  try {
    const library = libc().koffi.load(null);
    return {
      chacha20: library.func(
        'void ChaCha20_ctr32(int64_t to, int64_t from, int64_t size, int64_t key, int64_t counter)',
      ),
      poly1305Init: library.func('void Poly1305_Init(int64_t context, int64_t key)'),
      poly1305Update: library.func('void Poly1305_Update(int64_t context, int64_t from, int64_t size)'),
      poly1305Final: library.func('void Poly1305_Final(int64_t context, int64_t tag)'),
      poly1305Size: library.func('int64_t Poly1305_ctx_size()'),
    };
  } catch (cause) {
    throw new AppError('unavailable', 'openssl: this Node does not export ChaCha20_ctr32 and Poly1305', {
      cause,
    });
  }
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
