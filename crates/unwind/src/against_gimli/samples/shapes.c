/* Functions with every shape of stack frame that C compilers write. */
#include <alloca.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef int (*callback)(int);

int leaf(int x) { return x * 3 + 1; }

int calls(callback f, int x) { return f(x) + f(x + 1) * 7; }

int tail_call(callback f, int x) { return f(x ^ 5); }

int large_frame(callback f)
{
	volatile char place[70000];

	memset((char *)place, 1, sizeof place);
	return f(place[f(3) & 1023]);
}

int on_the_stack(callback f, int length)
{
	int *numbers = alloca(sizeof(int) * (length & 255));

	for (int i = 0; i < (length & 255); i++)
		numbers[i] = f(i);
	return numbers[f(0) & 15];
}

int variable_length(callback f, int length)
{
	int total = 0;

	for (int round = 0; round < 3; round++) {
		int numbers[1 + (length & 63)];

		for (int i = 0; i <= (length & 63); i++)
			total += numbers[i] = f(i + round);
		total += numbers[f(total) & 0];
	}
	return total;
}

int realigned(callback f)
{
	_Alignas(64) volatile int numbers[32];

	for (int i = 0; i < 32; i++)
		numbers[i] = f(i);
	return numbers[f(1) & 31];
}

int realigned_and_on_the_stack(callback f, int length)
{
	_Alignas(64) volatile int numbers[32];
	char *more = alloca(length & 511);

	numbers[f(1) & 31] = more[f(2) & 1];
	return numbers[f(3) & 31];
}

int many_cases(callback f, int x)
{
	switch (x) {
	case 0: return f(1) + f(2);
	case 1: x += f(11);
	case 2: x *= f(22); break;
	case 3: return f(3);
	case 4: x = f(f(4)); break;
	case 5: x ^= f(55) + f(56) * f(57);
	case 6: return x + f(6);
	case 7: x -= f(7); break;
	case 8: exit(f(8));
	case 9: return -f(9);
	case 10: x = f(10) + f(x); break;
	}
	return x + f(x);
}

__attribute__((noinline, noreturn)) static void give_up(callback f) { exit(f(0)); }

int may_give_up(callback f, int x)
{
	if (__builtin_expect(f(x) < 0, 0))
		give_up(f);
	if (__builtin_expect(f(x + 1) < 0, 0))
		abort();
	return f(x + 2);
}

int many_arguments(int a, int b, int c, int d, int e, int g, int h, int i, callback f)
{
	return f(a) + f(b) + f(c) * f(d) + f(e) * f(g) - f(h) * f(i);
}

int passes_many(callback f, int x)
{
	return many_arguments(x, f(x), x + 2, x + 3, f(x) + 4, x + 5, f(x + 6), x + 7, f) + f(x);
}

int variadic(int count, ...)
{
	va_list list;
	int total = 0;

	va_start(list, count);
	while (count-- > 0)
		total += va_arg(list, callback)(count);
	va_end(list);
	return total;
}

double floating(callback f, double x)
{
	double y = x * f(1);

	return y * x + f((int)y) * (x - y);
}

int jumps(callback f)
{
	jmp_buf place;

	if (setjmp(place) == 0)
		return f(1);
	return f(2);
}

static int by_address_only(int x) { return abs(x) * 3 + rand(); }

callback give_address(void) { return by_address_only; }

static int recursive(callback f, int depth) { return depth > 0 ? recursive(f, depth - 1) * f(depth) + f(1) : f(0); }

int recursion(callback f, int depth) { return recursive(f, depth); }
