/** Halves numbers until all are below one: the sum of an example, how many steps it took, and what each step began with. */
export const halving = `graph "halving"
%0: [b, n 2; 1] = input {name="x", layout="b n"}
%1: int[1] = constant {values=[0]}
%2: [1] = constant {values=[0]}
%3: [step 4; 1] = expand %2 {sizes=[step 4]}
%4: [b, n 2; 1] = state %0 {name="x"}
%5: int[b; 1] = state %1 {name="steps"}
%6: [b, step 4; 1] = state %3 {name="sums"}
%7: [b; 1] = reduce %4 {kind=sum, axes=[n]}
%8: [b, step 4; 1] = pointwise %6, %5, %7 {body=x.step == $1 ? $2 : $0}
%9: [b, n 2; 1] = pointwise %4 {body=$0 / 2}
%10: [b; 1] = reduce %9 {kind=max, axes=[n]}
%11: [b; 1] = pointwise %10 {body=$0 >= 1 ? 1 : 0}
%12: int[b; 1] = round %11
%13: [b; 1] = pointwise %5 {body=$0 + 1}
%14: int[b; 1] = round %13
%15: int[b; 1] = loop %12, %9, %14, %8 {states=["x", "steps", "sums"], atMost=4}
%16: [b, n 2; 1] = after %15, %4
%17: int[b; 1] = after %15, %5
%18: [b, step 4; 1] = after %15, %6
%19: [b; 1] = reduce %16 {kind=sum, axes=[n]}
output "sum" = %19 "b"
output "steps" = %17 "b"
output "sums" = %18 "(b step)" upTo step "steps"
`;

/** Two states that change places at every step, three times, beside what is the same at all of them. */
export const swapping = `graph "swapping"
%0: [b, n 2; 1] = input {name="x", layout="b n"}
%1: [b, n 2; 1] = pointwise %0 {body=$0 * 10}
%2: [b; 1] = reduce %0 {kind=sum, axes=[n]}
%3: int[1] = constant {values=[0]}
%4: [b, n 2; 1] = state %0 {name="one"}
%5: [b, n 2; 1] = state %1 {name="other"}
%6: int[b; 1] = state %3 {name="steps"}
%7: [b; 1] = pointwise %6 {body=$0 + 1}
%8: int[b; 1] = round %7
%9: [b; 1] = pointwise %8 {body=$0 < 3 ? 1 : 0}
%10: int[b; 1] = round %9
%11: [b, n 2; 1] = pointwise %4, %2 {body=$0 + $1}
%12: int[b; 1] = loop %10, %5, %11, %8 {states=["one", "other", "steps"], atMost=9}
%13: [b, n 2; 1] = after %12, %4
%14: [b, n 2; 1] = after %12, %5
%15: [b, n 2; 1] = pointwise %13, %2 {body=$0 - $1}
output "one" = %15 "b n"
output "other" = %14 "b n"
output "flag" = %12 "b"
`;
