// Functions with landing pads, virtual calls and destructors.
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

struct Base {
	virtual ~Base() = default;
	virtual int run(int x) = 0;
};

struct Derived : Base {
	std::string name;
	explicit Derived(std::string name) : name(std::move(name)) {}
	int run(int x) override
	{
		if (x > 100)
			throw std::out_of_range(name);
		return x + static_cast<int>(name.size());
	}
};

int catches(Base &base, int x)
{
	try {
		std::vector<std::string> names(x, "name");
		return base.run(x) + static_cast<int>(names.size());
	} catch (const std::out_of_range &error) {
		return static_cast<int>(std::string(error.what()).size());
	} catch (...) {
		throw;
	}
}

int counts(const std::map<std::string, int> &numbers, const std::function<int(int)> &call)
{
	int total = 0;
	for (const auto &[name, number] : numbers)
		total += call(number) * static_cast<int>(name.size());
	auto nested = [&](int x) { return call(total + x); };
	return nested(1) + nested(2);
}

Base *make(const char *name) { return new Derived(name); }
