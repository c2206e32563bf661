import { readFileSync } from 'node:fs';

/**
 * A secret, read now, so that one that was changed takes effect at the next connect. A file is trimmed. Throws an Error that says what
 * could not be read, and nothing of what was.
 */
export function readSecret(ref: { readonly file: string } | { readonly env: string }): string {
  if ('env' in ref) {
    const value = process.env[ref.env];
    if (value === undefined) throw new Error(`environment variable ${ref.env} is not set`);
    return value;
  }
  try {
    return readFileSync(ref.file, 'utf8').trim();
  } catch (error) {
    throw new Error(`cannot read ${ref.file}: ${(error as NodeJS.ErrnoException).code}`, { cause: error });
  }
}
