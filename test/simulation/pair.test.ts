import { simulated } from './simulated.ts';

simulated('pair');
