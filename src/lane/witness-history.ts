import { type Position, samePosition, type Witness } from '../wire/position.ts';

const slots = 8;

/**
 * The newest witness of a lane and a few older ones, further apart the older they are: when a source lost its tail and
 * used the numbers again, one of them tells up to where it is still the same.
 */
export class WitnessHistory {
  #count = 0;
  readonly #slots: (Witness | undefined)[] = new Array<Witness | undefined>(slots).fill(undefined);

  constructor(known: readonly Witness[] = []) {
    for (const witness of known.toReversed()) this.add(witness);
  }

  /** Takes in the newest witness; the same position twice counts once. */
  add(witness: Witness): void {
    const newest = this.list()[0];
    if (
      newest?.position.sequence === witness.position.sequence &&
      newest.position.incarnation === witness.position.incarnation
    )
      return;
    this.#count++;
    // Slot k is overwritten every 2^(k+1) additions.
    const zeros = 31 - Math.clz32(this.#count & -this.#count);
    this.#slots[Math.min(zeros, slots - 1)] = witness;
    for (let i = 0; i < slots; i++)
      if (this.#slots[i]?.position.incarnation !== witness.position.incarnation) this.#slots[i] = undefined;
  }

  /** A source that lost its tail goes on behind a record that it proved, under a new label: this one speaks of the same record by that. */
  relabelled(from: Position, to: Position): Witness | undefined {
    const known = { ...from, sequence: to.sequence };
    const witness = this.list().find(({ position }) => samePosition(position, known));
    return witness && { ...witness, position: to };
  }

  /** Newest first, all of one incarnation. */
  list(): Witness[] {
    const known = this.#slots.filter((witness) => witness !== undefined);
    return known.sort((a, b) => b.position.sequence - a.position.sequence);
  }
}
