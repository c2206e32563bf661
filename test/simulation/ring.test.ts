import { simulated } from './simulated.ts';

simulated('ring');
