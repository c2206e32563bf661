import { simulated } from './simulated.ts';

simulated('chain');
