import type { Consume, ExportRules, Source, SourceStream } from '../broker.ts';
import { exportFilter } from './export-rules.ts';
import { JetStreamSource, type JetStreamSourceOptions } from './js-source.ts';
import { SharedLane } from './shared-lane.ts';
import { type KnownPlace, Trunk } from './trunk.ts';

export interface SharedSourceOptions extends Omit<JetStreamSourceOptions, 'filter' | 'consume'> {
  /** Memory for what was read once for several lanes, in bytes. */
  readonly ringBytes: number;
}

/** After a trunk ended, none is begun for so long, in ms: whatever ended it would end the next one. */
const restMs = 1000;
/** And for so long after one that served a single lane: the others stand near, and do not come nearer. */
const longRestMs = 30_000;
/** How often it is looked whether a trunk serves more than one lane, in ms; the second time that it does not, it ends. */
const lookMs = 2000;

/**
 * The lanes that read one stream. Each proves its cursor and reads for itself, until two of them stand so close together that
 * one reader (a trunk) can serve both; others join when they come to a record that the trunk holds. A lane that does not keep
 * up falls behind what the trunk holds, and reads for itself again. A lane alone never has a trunk.
 */
export class SharedSource implements SourceStream {
  readonly #options: SharedSourceOptions;
  readonly #lanes = new Set<SharedLane>();
  #trunk: Trunk | undefined;
  #looking: NodeJS.Timeout | undefined;
  #rest: NodeJS.Timeout | undefined;

  constructor(options: SharedSourceOptions) {
    this.#options = options;
  }

  /** The sending end's source for a lane; `rules` say what it leaves out. One that drains the stream reads for itself. */
  lane(rules?: ExportRules, consume?: Consume): Source & { readonly prefetchedBytes: number } {
    if (consume !== undefined) return this.#source(rules, consume);
    return new SharedLane({
      batchBytes: this.#options.batchBytes,
      rules,
      source: () => this.#source(rules),
      opened: (lane) => this.#lanes.add(lane),
      moved: (lane) => this.#moved(lane),
      closed: (lane) => this.#lanes.delete(lane),
    });
  }

  #source(rules: ExportRules | undefined, consume?: Consume): JetStreamSource {
    return new JetStreamSource({
      ...this.#options,
      ...(rules === undefined ? {} : { filter: exportFilter(rules) }),
      ...(consume === undefined ? {} : { consume }),
    });
  }

  /** Lanes that share one reader. */
  get attached(): number {
    return this.#trunk?.attached ?? 0;
  }

  /** How many readers run, the shared one included. */
  get readers(): number {
    let own = 0;
    for (const lane of this.#lanes) if (lane.readsForItself) own++;
    return own + (this.#trunk === undefined ? 0 : 1);
  }

  /** Memory of the shared reader and of what it holds, in bytes. */
  get trunkBytes(): number {
    return this.#trunk?.bytes ?? 0;
  }

  /** A lane that reads for itself has come to a record that it can be told by. */
  #moved(lane: SharedLane): void {
    const place = lane.place;
    if (place === undefined) return;
    if (this.#trunk === undefined) {
      if (this.#rest !== undefined) return;
      for (const other of this.#lanes) {
        if (other === lane || other.place === undefined) continue;
        const [first, second] = other.place.position.sequence > place.position.sequence ? [other, lane] : [lane, other];
        if (!this.#near(first, second)) continue;
        this.#begin(first.place!);
        break;
      }
    }
    const trunk = this.#trunk;
    if (trunk?.ring.holds(place.position.sequence, place.time)) lane.attach(trunk);
  }

  /** Whether the second, which is behind, soon comes to what a trunk will hold from the place of the first on. */
  #near(first: SharedLane, second: SharedLane): boolean {
    const records = first.place!.position.sequence - second.place!.position.sequence;
    const bytes = records * Math.max(first.recordBytes, second.recordBytes);
    return records === 0 || (second.allowance > 0 && bytes <= this.#options.ringBytes / 4);
  }

  #begin(place: KnownPlace): void {
    let lonely = false;
    const trunk: Trunk = new Trunk(this.#options, place, {
      // Those that were ahead of it, and may not move again for long.
      grew: (end) => {
        for (const lane of this.#lanes) if ((lane.place?.position.sequence ?? 0) > end) this.#moved(lane);
      },
      ended: () => this.#ended(lonely ? longRestMs : restMs),
    });
    this.#trunk = trunk;
    for (const lane of this.#lanes) {
      const at = lane.place;
      if (at !== undefined && trunk.ring.holds(at.position.sequence, at.time)) lane.attach(trunk);
    }
    this.#looking = setInterval(() => {
      if (trunk.attached < 2 && lonely) trunk.end();
      lonely = trunk.attached < 2;
    }, lookMs);
    this.#looking.unref();
  }

  #ended(forMs: number): void {
    this.#trunk = undefined;
    clearInterval(this.#looking);
    this.#rest = setTimeout(() => {
      this.#rest = undefined;
      for (const lane of this.#lanes) this.#moved(lane);
    }, forMs);
    this.#rest.unref();
  }
}
