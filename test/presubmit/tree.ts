/** The files of the project as text, for the tests that hold its conventions. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = resolve(fileURLToPath(import.meta.url), '../../..');

const notOurs = new Set(['node_modules', 'dist', '.cache', '.git']);

/** Paths from the root with forward slashes, of what is in the tree and not made by a tool. */
export function projectFiles(under = root): string[] {
  return readdirSync(under, { withFileTypes: true }).flatMap((entry) => {
    if (notOurs.has(entry.name)) return [];
    const path = join(under, entry.name);
    if (entry.isDirectory()) return projectFiles(path);
    return entry.isFile() ? [relative(root, path).split(sep).join('/')] : [];
  });
}

export function textOf(file: string): string {
  return readFileSync(join(root, file), 'utf8');
}

export function isGenerated(file: string): boolean {
  return file.startsWith('src/wire/gen/') || file === 'package-lock.json';
}
